use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

/// What plugins leave for themselves and each other while one pod is scheduled and bound: one
/// value per type.
#[derive(Default)]
pub struct CycleState(Mutex<Vec<(TypeId, Arc<dyn Any + Send + Sync>)>>);

impl CycleState {
    /// Leaves a value, in place of the one of its type that was there.
    pub fn put<T: Send + Sync + 'static>(&self, value: T) {
        let mut values = self.0.lock();
        values.retain(|(id, _)| *id != TypeId::of::<T>());
        values.push((TypeId::of::<T>(), Arc::new(value)));
    }

    /// The value of a type.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let values = self.0.lock();
        let (_, found) = values.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        found.clone().downcast().ok()
    }
}

impl fmt::Debug for CycleState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CycleState({})", self.0.lock().len())
    }
}
