//! What the rules of a schema may cost at most, before there is any object.

use crate::field::{ErrorList, Path};

/// What one rule may cost for all values in an object that it is for.
const OF_RULE: u64 = 10_000_000;
/// What all rules of a schema may cost.
const OF_SCHEMA: u64 = 100_000_000;

/// What rules cost.
#[derive(Default)]
pub(super) struct Costs {
    total: u64,
    /// The rules that cost most, with their paths.
    dear: Vec<(u64, String)>,
}

impl Costs {
    /// Adds a rule or a message, and complains if it alone costs too much.
    pub(super) fn add(&mut self, what: &str, cost: u64, path: &Path<'_>, errors: &mut ErrorList) {
        self.total = self.total.saturating_add(cost);
        if cost > OF_RULE {
            errors.forbidden(path, &exceeds(&format!("estimated {what} cost"), cost, OF_RULE));
        }
        if cost > OF_SCHEMA / 100 {
            self.dear.push((cost, path.to_string()));
            self.dear.sort_by(|one, other| other.cmp(one));
            self.dear.truncate(4);
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        self.total = self.total.saturating_add(other.total);
        self.dear.extend(other.dear);
        self.dear.sort_by(|one, other| other.cmp(one));
        self.dear.truncate(4);
    }

    /// Complains if all together cost too much.
    pub(super) fn say(&self, root: &Path<'_>, errors: &mut ErrorList) {
        if self.total <= OF_SCHEMA {
            return;
        }
        let why = "contributed to estimated rule & messageExpression cost total exceeding cost \
                   limit for entire OpenAPIv3 schema";
        for (_, path) in &self.dear {
            errors.forbidden(&Path::root(path), why);
        }
        let what = "x-kubernetes-validations estimated rule & messageExpression cost total for \
                    entire OpenAPIv3 schema";
        errors.forbidden(root, &exceeds(what, self.total, OF_SCHEMA));
    }
}

fn exceeds(what: &str, cost: u64, limit: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "it is shown with one digit")]
    let factor = cost as f64 / limit as f64;
    let factor = match factor {
        _ if factor > 100.0 => "more than 100x".to_owned(),
        _ if factor < 1.5 => format!("{factor:.6}x"),
        _ => format!("{factor:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding \
         maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}
