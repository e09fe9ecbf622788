//! Lists and maps that an expression makes of parts, which must be of one type.

use cel::common::ast::{EntryExpr, ListExpr, MapExpr};

use super::Checker;
use super::types::{Ty, most_general};

/// Parts with their numbers.
type Parts<'a> = Vec<(u64, Ty<'a>)>;

impl<'a> Checker<'_, 'a> {
    pub(super) fn list(&mut self, list: &ListExpr, formats: bool) -> Ty<'a> {
        let mut items = Parts::new();
        for (at, item) in list.elements.iter().enumerate() {
            self.formats = formats;
            let found = self.visit(item);
            let is_optional = list.optional_indices.contains(&at);
            items.push((item.id, self.unwrapped(item.id, found, is_optional)));
        }
        Ty::list(self.join(items, formats))
    }

    pub(super) fn map(&mut self, map: &MapExpr, formats: bool) -> Ty<'a> {
        let (mut keys, mut values) = (Parts::new(), Parts::new());
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
            keys.push((entry.key.id, self.visit(&entry.key)));
            self.formats = formats;
            let value = self.visit(&entry.value);
            values.push((entry.value.id, self.unwrapped(entry.value.id, value, entry.optional)));
        }
        Ty::map(self.join(keys, formats), self.join(values, formats))
    }

    /// The type that parts have in common; they are compared when all is known of them.
    fn join(&mut self, parts: Parts<'a>, formats: bool) -> Ty<'a> {
        let mut common: Option<Ty<'a>> = None;
        for (_, part) in &parts {
            common = Some(match common {
                None => part.clone(),
                Some(before) if self.known.fits(&before, part) => most_general(&before, part),
                Some(_) => Ty::Dyn,
            });
        }
        if !formats {
            self.alike.push(parts);
        }
        common.unwrap_or_else(|| self.open())
    }

    /// Complains about parts of lists and maps that are not of the type of the first.
    pub(super) fn compare(&mut self) {
        for parts in std::mem::take(&mut self.alike) {
            let mut types = parts.iter().map(|(id, ty)| (*id, self.known.fill(ty, true)));
            let Some((_, wanted)) = types.next() else { continue };
            if let Some((id, found)) = types.find(|(_, found)| !found.is(&wanted)) {
                self.complain(id, format!("expected type '{wanted}' but found '{found}'"));
            }
        }
    }

    /// What is taken out of something that may be there, where it says so.
    pub(super) fn unwrapped(&mut self, id: u64, found: Ty<'a>, is_optional: bool) -> Ty<'a> {
        match self.known.fill(&found, false) {
            Ty::Optional(of) if is_optional => Ty::clone(&of),
            found if is_optional && !found.is_unsure() => {
                let wanted = Ty::optional(found.clone());
                self.complain(id, format!("expected type '{wanted}' but found '{found}'"))
            }
            _ => found,
        }
    }
}
