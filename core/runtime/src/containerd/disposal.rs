//! The end of a namespace that nobody comes back to.

use containerd_client::services::v1::{
    DeleteImageRequest, DeleteNamespaceRequest, DeleteRequest, ListImagesRequest, ListRequest,
};

use super::connection::gone_is_fine;
use super::{Core, blocking};
use crate::Result;

impl Core {
    /// Removes the namespace with its images and leases, and the cgroups above those of pods. What can
    /// go, goes, whatever else cannot.
    pub(super) async fn dispose(&self) -> Result<()> {
        let all = self.cgroups.all();
        let cgroups = blocking(move || all.remove()).await;
        let leases = self.remove_leases().await;
        let images = self.remove_images().await;
        cgroups.and(leases).and(images).and(self.remove_namespace().await)
    }

    async fn remove_namespace(&self) -> Result<()> {
        let connection = &self.connection;
        let request = DeleteNamespaceRequest { name: connection.namespace().to_owned() };
        let removed = connection.namespaces().delete(connection.request(request)).await;
        gone_is_fine(removed).map_err(|status| connection.error("remove a namespace", &status))
    }

    /// What a lease keeps would outlive the images.
    async fn remove_leases(&self) -> Result<()> {
        let connection = &self.connection;
        let request = connection.request(ListRequest { filters: Vec::new() });
        let leases = connection.leases().list(request).await;
        let leases = leases.map_err(|status| connection.error("list leases", &status))?;
        for lease in leases.into_inner().leases {
            let request = connection.request(DeleteRequest { id: lease.id, sync: false });
            gone_is_fine(connection.leases().delete(request).await)
                .map_err(|status| connection.error("remove a lease", &status))?;
        }
        Ok(())
    }

    async fn remove_images(&self) -> Result<()> {
        let connection = &self.connection;
        let request = connection.request(ListImagesRequest { filters: Vec::new() });
        let images = connection.images().list(request).await;
        let images = images.map_err(|status| connection.error("list images", &status))?;
        let mut left = images.into_inner().images;
        while let Some(image) = left.pop() {
            // Their content and snapshots are collected with the last one.
            let sync = left.is_empty();
            let request = DeleteImageRequest { name: image.name, sync, ..Default::default() };
            gone_is_fine(connection.images().delete(connection.request(request)).await)
                .map_err(|status| connection.error("remove an image", &status))?;
        }
        Ok(())
    }
}
