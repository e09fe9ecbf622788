//! API Priority and Fairness: how many requests are dealt with at once, and whose.
//!
//! A request belongs to the first [`FlowSchema`] that means it, by its precedence, and that names
//! the level whose seats it takes. Where all are taken it waits in one of the queues that its flow
//! is dealt, and the queues are served in turn. Connections to pods take no seat; a watch takes one
//! until it has begun. Levels lend each other seats.

mod borrowing;
mod classify;
mod defaults;
mod figures;
mod level;
mod maintain;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::{HeaderName, HeaderValue, Response};
use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, FlowSchemaSpec, PriorityLevelConfiguration, PriorityLevelConfigurationSpec,
};
use parking_lot::RwLock;
use pinnace_server::User;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::Body;
use crate::request::RequestInfo;
use borrowing::{Bounds, share};
use figures::{Figures, Flow};
pub(crate) use level::Refused;
use level::{Level, Seat, Shape};

/// Requests at once that all levels share: upstream's defaults for reading and writing together.
const SEATS: f64 = 600.0;
const SCHEMA: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// Who gets how much of the server.
pub(crate) struct FlowControl {
    rules: RwLock<Arc<Rules>>,
    figures: Figures,
    /// Whether the objects are to be read and have not been: until then the defaults rule.
    pending: Arc<AtomicBool>,
}

/// What the objects say at one time.
#[derive(Default)]
struct Rules {
    /// In the order in which they are asked.
    schemas: Vec<Arc<Schema>>,
    levels: BTreeMap<String, Arc<Level>>,
}

struct Schema {
    name: String,
    spec: FlowSchemaSpec,
    level: Arc<Level>,
    marks: Marks,
    flow: Arc<Flow>,
}

/// A request that is being dealt with.
#[derive(Debug)]
pub(crate) struct Admitted {
    _seat: Seat,
    flow: Arc<Flow>,
    since: Instant,
    watches: bool,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.flow.ended(self.since.elapsed(), self.watches);
    }
}

/// The schema and level of a request, for its answer. Both are told by their uid, so those that no
/// object stands behind are not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    schema: Option<HeaderValue>,
    level: Option<HeaderValue>,
}

impl Marks {
    /// Adds the headers.
    pub(crate) fn put(self, response: &mut Response<Body>) {
        for (name, value) in [(SCHEMA, self.schema), (LEVEL, self.level)] {
            if let Some(value) = value {
                response.headers_mut().insert(name, value);
            }
        }
    }
}

impl FlowControl {
    /// With the rules that every cluster has.
    pub(crate) fn new() -> Self {
        let (rules, figures) = (RwLock::default(), Figures::default());
        let control = Self { rules, figures, pending: Arc::default() };
        let (schemas, levels) = defaults::schemas()
            .and_then(|schemas| Ok((schemas, defaults::levels()?)))
            .unwrap_or_default();
        control.apply(&schemas, &levels);
        control
    }

    /// Whether it does not rule yet by the objects that there are, and is to.
    pub(crate) fn pending(&self) -> Arc<AtomicBool> {
        self.pending.clone()
    }

    /// Has a registry show who waits, who is dealt with, and what levels have.
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.figures.register(registry);
    }

    /// Shares the seats out anew.
    fn adjust(&self) {
        let rules = self.rules.read().clone();
        let levels: Vec<_> = rules.levels.values().map(|level| level.observe()).collect();
        let (shares, fair_part) = share(&levels);
        self.figures.fair_part(fair_part);
        for (((name, level), (bounds, seen, _)), share) in
            rules.levels.iter().zip(&levels).zip(&shares)
        {
            self.figures.level(name, bounds, seen, share);
            level.resize(share.seats);
        }
    }

    /// Rules by these objects from now on. Levels that stay keep their queues.
    fn apply(&self, schemas: &[FlowSchema], levels: &[PriorityLevelConfiguration]) {
        let before = self.rules.read().clone();
        let shares: f64 =
            levels.iter().filter_map(|level| level.spec.as_ref()).map(shares_of).sum();
        let mut rules = Rules::default();
        let mut uids = BTreeMap::new();
        for object in levels {
            let (Some(name), Some(spec)) = (&object.metadata.name, &object.spec) else { continue };
            let (shape, bounds) = (Shape::of(spec), bounds(spec, shares));
            let level = match before.levels.get(name) {
                Some(level) => {
                    level.reshape(shape, bounds);
                    level.clone()
                }
                None => Arc::new(Level::new(shape, bounds)),
            };
            uids.insert(name.as_str(), mark(object.metadata.uid.as_deref()));
            rules.levels.insert(name.clone(), level);
        }
        for object in schemas {
            let (Some(name), Some(spec)) = (&object.metadata.name, &object.spec) else { continue };
            let level_name = &spec.priority_level_configuration.name;
            // One whose level is missing means nothing: its condition says so.
            let Some(level) = rules.levels.get(level_name) else { continue };
            let marks = Marks {
                schema: mark(object.metadata.uid.as_deref()),
                level: uids.get(level_name.as_str()).cloned().flatten(),
            };
            let flow = Arc::new(self.figures.flow(level_name, name));
            let (name, spec, level) = (name.clone(), spec.clone(), level.clone());
            rules.schemas.push(Arc::new(Schema { name, spec, level, marks, flow }));
        }
        rules.schemas.sort_by(|a, b| {
            let precedence = |schema: &Schema| schema.spec.matching_precedence.unwrap_or(1000);
            precedence(a).cmp(&precedence(b)).then_with(|| a.name.cmp(&b.name))
        });
        let gone = before.levels.keys().filter(|name| !rules.levels.contains_key(*name));
        gone.for_each(|name| self.figures.forget_level(name));
        *self.rules.write() = Arc::new(rules);
        self.adjust();
    }

    /// A seat for a request, once there is one.
    ///
    /// # Errors
    /// [`Refused`] when there is none in time.
    pub(crate) async fn admit(
        &self,
        user: &User,
        info: &RequestInfo,
        marks: &mut Marks,
    ) -> Result<Option<Admitted>, Refused> {
        let connects =
            matches!(&*info.subresource, "log" | "exec" | "attach" | "portforward" | "proxy");
        if info.is_resource && connects {
            return Ok(None);
        }
        let rules = self.rules.read().clone();
        let mut schemas = rules.schemas.iter();
        let Some(schema) = schemas.find(|schema| classify::matches(&schema.spec, user, info))
        else {
            // Even the last schema is gone; it comes back soon.
            return Ok(None);
        };
        marks.clone_from(&schema.marks);
        let hash = classify::flow(&schema.name, &schema.spec, user, info);
        let flow = schema.flow.clone();
        let seat = schema.level.seat(hash, &flow).await?;
        flow.began();
        let (since, watches) = (Instant::now(), info.verb == "watch");
        Ok(Some(Admitted { _seat: seat, flow, since, watches }))
    }
}

impl fmt::Debug for FlowControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FlowControl({} schemas)", self.rules.read().schemas.len())
    }
}

fn mark(uid: Option<&str>) -> Option<HeaderValue> {
    uid.and_then(|uid| HeaderValue::from_str(uid).ok())
}

fn shares_of(spec: &PriorityLevelConfigurationSpec) -> f64 {
    let limited = spec.limited.as_ref().and_then(|limited| limited.nominal_concurrency_shares);
    let exempt = spec.exempt.as_ref().and_then(|exempt| exempt.nominal_concurrency_shares);
    f64::from(limited.or(exempt).unwrap_or(0).max(0))
}

/// The seats of a level, where all levels together have so many shares.
fn bounds(spec: &PriorityLevelConfigurationSpec, shares: f64) -> Bounds {
    let (limited, exempt) = (spec.limited.as_ref(), spec.exempt.as_ref());
    let lends = limited.and_then(|limited| limited.lendable_percent);
    let lends = lends.or(exempt.and_then(|exempt| exempt.lendable_percent)).unwrap_or(0);
    let borrows = limited.and_then(|limited| limited.borrowing_limit_percent);
    let nominal = seats(shares_of(spec), shares);
    let part = |percent: i32| whole((nominal as f64 * f64::from(percent.max(0)) / 100.0).round());
    Bounds {
        nominal,
        lower: nominal.saturating_sub(part(lends)),
        upper: nominal + borrows.map_or(whole(SEATS), part),
        exempt: Shape::of(spec) == Shape::Exempt,
    }
}

/// The seats of so many of all shares, rounded up.
fn seats(shares: f64, all: f64) -> usize {
    if all > 0.0 { whole((SEATS * shares / all).ceil()) } else { 0 }
}

fn whole(seats: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seats are few")]
    let seats = seats as usize;
    seats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_split_by_shares() {
        assert_eq!(seats(20.0, 245.0), 49);
        assert_eq!(seats(5.0, 245.0), 13);
        assert_eq!((seats(0.0, 245.0), seats(1.0, 0.0)), (0, 0));
    }

    #[test]
    fn what_is_lent_and_borrowed_is_a_part_of_what_is_ones_own() {
        let levels = defaults::levels().unwrap();
        let of = |name: &str| {
            let found = levels.iter().find(|one| one.metadata.name.as_deref() == Some(name));
            let mut spec = found.unwrap().spec.clone().unwrap();
            if let Some(limited) = spec.limited.as_mut().filter(|_| name == "system") {
                limited.borrowing_limit_percent = Some(50);
            }
            let Bounds { nominal, lower, upper, exempt } = bounds(&spec, 245.0);
            (nominal, lower, upper, exempt)
        };
        assert_eq!(of("catch-all"), (13, 13, 613, false));
        assert_eq!(of("global-default"), (49, 24, 649, false));
        assert_eq!(of("system"), (74, 50, 111, false));
        assert_eq!(of("exempt"), (0, 0, 600, true));
    }

    fn request() -> RequestInfo {
        RequestInfo {
            is_resource: true,
            verb: "get".to_owned(),
            resource: "pods".to_owned(),
            namespace: "a".to_owned(),
            ..RequestInfo::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_level_borrows_seats_that_others_do_not_use_and_figures_show_it() {
        let control = FlowControl::new();
        let mut registry = Registry::default();
        control.register(&mut registry);
        let shown = |expected: &str| {
            let mut text = String::new();
            prometheus_client::encoding::prometheus_text::encode(&mut text, &registry).unwrap();
            assert!(
                text.contains(&format!("apiserver_flowcontrol_{expected}\n")),
                "{expected}\n{text}"
            );
        };
        let (ann, info) = (User::new("ann", ["system:authenticated".to_owned()]), request());
        let admit = || async { control.admit(&ann, &info, &mut Marks::default()).await };
        let level = "priority_level=\"global-default\"";
        let of_ann = format!("{level},flow_schema=\"global-default\"");
        shown(&format!("nominal_limit_seats{{{level}}} 49.0"));
        shown(&format!("current_limit_seats{{{level}}} 56.0"));
        let mut seats = Vec::new();
        for _ in 0..56 {
            seats.push(admit().await.unwrap());
        }
        let waiting = async { futures::future::join_all((0..200).map(|_| admit())).await };
        let borrow = async {
            tokio::time::sleep(borrowing::PERIOD).await;
            shown(&format!("current_executing_requests{{{of_ann}}} 56"));
            shown(&format!("current_inqueue_seats{{{of_ann}}} 200"));
            control.adjust();
        };
        let (waited, ()) = tokio::join!(waiting, borrow);
        assert!(waited.iter().all(Result::is_ok));
        shown(&format!("demand_seats_high_watermark{{{level}}} 256.0"));
        shown(&format!("dispatched_requests_total{{{of_ann}}} 256"));
        shown(&format!("request_wait_duration_seconds_count{{{of_ann},execute=\"true\"}} 256"));
        drop((seats, waited));
        shown(&format!("current_executing_requests{{{of_ann}}} 0"));
        shown(&format!("request_execution_seconds_count{{{of_ann},type=\"regular\"}} 256"));
    }

    #[tokio::test]
    async fn objects_rule_and_connections_take_no_seat() {
        let control = FlowControl::new();
        let mut marks = Marks::default();
        let ann = User::new("ann", ["system:authenticated".to_owned()]);
        let mut info = request();
        assert!(control.admit(&ann, &info, &mut marks).await.unwrap().is_some());
        let mut schemas = defaults::schemas().unwrap();
        let mut levels = defaults::levels().unwrap();
        for level in &mut levels {
            let limited = level.spec.as_mut().and_then(|spec| spec.limited.as_mut());
            if level.metadata.name.as_deref() == Some("global-default") {
                let limited = limited.unwrap();
                limited.nominal_concurrency_shares = Some(0);
                limited.limit_response.as_mut().unwrap().queuing = None;
            }
        }
        schemas.iter_mut().for_each(|schema| schema.metadata.uid = Some("u".to_owned()));
        control.apply(&schemas, &levels);
        assert_eq!(control.admit(&ann, &info, &mut marks).await.unwrap_err(), Refused);
        assert_eq!(marks.schema.as_ref().unwrap(), "u");
        info.subresource = "log".to_owned();
        assert!(control.admit(&ann, &info, &mut marks).await.unwrap().is_none());
    }
}
