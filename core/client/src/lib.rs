//! One client, typed and dynamic, over a transport; cached listers.
