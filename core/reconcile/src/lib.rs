//! The reconcile loop: what every controller of the engine runs on, and controllers of a host
//! application too.
//!
//! A [`Reconciler`] brings the world to what one object asks for. It is told only the object's
//! key, never what happened: the loop around it, a [`Controller`], collects what changed, never
//! runs two reconciles of one key at once, and tries again after a failure, later each time.
//!
//! ```
//! # use pinnace_reconcile::{Action, Reconciler, BoxError};
//! # use pinnace_api::Key;
//! struct Greeter;
//!
//! #[async_trait::async_trait]
//! impl Reconciler for Greeter {
//!     fn name(&self) -> &str {
//!         "greeter"
//!     }
//!     async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
//!         // Read from a cache, compare, write through the client.
//!         Ok(Action::Done)
//!     }
//! }
//! ```

mod controller;
mod queue;

pub use controller::{Action, BoxError, Controller, Reconciler, SHUTDOWN_GRACE};
pub use queue::{Queue, RETRY_FIRST, RETRY_MAX};
