use crate::{ApiError, Draft, Kind, Object, Result};

/// How a version of a kind that is served but not stored is made from the one that is, and back.
///
/// Both ways together must lose nothing: what the served version has no field for travels in it
/// some other way, such as annotations. Metadata goes over as it is, annotations apart.
pub trait Conversion: Send + Sync + 'static {
    /// The version that clients see.
    type Served: Kind;
    /// The version in the store.
    type Stored: Kind;

    /// The stored form of what a client has sent.
    ///
    /// # Errors
    /// `BadRequest` when it has none.
    fn to_stored(&self, served: Self::Served) -> Result<Self::Stored>;

    /// What a client of this version sees.
    ///
    /// # Errors
    /// `InternalError` when this version cannot show it.
    fn to_served(&self, stored: &Self::Stored) -> Result<Self::Served>;

    /// What a selectable field of this version is called in the stored one.
    fn stored_field<'a>(&self, field: &'a str) -> &'a str {
        field
    }
}

/// A [`Conversion`] with its types erased; every `Conversion` is one.
pub trait AnyConversion: Send + Sync + 'static {
    /// See [`Conversion::to_stored`]. Who owns which field stays with the draft.
    ///
    /// # Errors
    /// As there, and `InternalError` for a draft of another type.
    fn to_stored(&self, draft: Draft) -> Result<Draft>;

    /// See [`Conversion::to_served`].
    ///
    /// # Errors
    /// As there, and `InternalError` for a draft of another type.
    fn draft_to_served(&self, draft: &Draft) -> Result<Draft>;

    /// The same version of the object, as a client of the served version sees it.
    ///
    /// # Errors
    /// As [`AnyConversion::draft_to_served`].
    fn to_served(&self, object: &Object) -> Result<Object>;

    /// See [`Conversion::stored_field`].
    fn stored_field<'a>(&self, field: &'a str) -> &'a str;
}

impl<C: Conversion> AnyConversion for C {
    fn to_stored(&self, draft: Draft) -> Result<Draft> {
        draft.try_map(|served| Conversion::to_stored(self, served))
    }

    fn draft_to_served(&self, draft: &Draft) -> Result<Draft> {
        let stored = draft.get::<C::Stored>().ok_or_else(mismatch::<C::Stored>)?;
        Ok(Draft::new(Conversion::to_served(self, stored)?))
    }

    fn to_served(&self, object: &Object) -> Result<Object> {
        object.view(|stored| Conversion::to_served(self, stored))
    }

    fn stored_field<'a>(&self, field: &'a str) -> &'a str {
        Conversion::stored_field(self, field)
    }
}

pub(crate) fn mismatch<K>() -> ApiError {
    ApiError::internal(format!("an object to convert is not a {}", std::any::type_name::<K>()))
}
