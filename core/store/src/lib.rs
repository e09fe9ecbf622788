//! The versioned store: transactions, snapshots, watch.
