//! The request pipeline: authenticate, authorize, admit, default, validate, commit.
