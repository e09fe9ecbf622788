//! The reconcile loop: triggers, queue, workers, backoff.
