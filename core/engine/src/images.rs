use std::path::Path;

use crate::{Engine, Result};

impl Engine {
    /// Imports every image of an OCI archive (`.tar`) or an OCI layout directory, so that pods can
    /// use it without a registry. Gives the names under which pods may ask for them.
    ///
    /// # Errors
    /// When the archive cannot be read or its content is not what its digests say.
    pub async fn import_image(&self, path: impl AsRef<Path>) -> Result<Vec<String>> {
        self.check_open()?;
        self.parts().machinery.import(&[path.as_ref().to_owned()]).await
    }
}
