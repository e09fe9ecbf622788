//! The object model: objects, catalog, selectors, quantities, patches, defaulting and validation.
