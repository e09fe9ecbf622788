//! Clusters on other machines.

use pinnace_client::Client;
use pinnace_http::{ClientIdentity, NodeApplication, Purpose, kubeconfig_for};
use pinnace_remote::Remote;
pub use pinnace_remote::{Identity, Kubeconfig};

use crate::{Error, Result};

/// A client of the cluster of a kubeconfig, this engine's own or anybody else's. Its catalog has the
/// built-in kinds, and those that the cluster has now besides.
///
/// ```no_run
/// # async fn example() -> Result<(), pinnace::Error> {
/// let kubeconfig = pinnace::Kubeconfig::read("kubeconfig".as_ref())?;
/// let client = pinnace::connect(&kubeconfig).await?;
/// for pod in client.named("pods")?.list(None, Default::default()).await?.items {
///     println!("{}", pod.name());
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Remote`] for a kubeconfig that leads nowhere, [`Error::Api`] for what the cluster answers.
pub async fn connect(kubeconfig: &Kubeconfig) -> Result<Client> {
    let remote = Remote::new(kubeconfig)?;
    remote.discover().await?;
    Ok(Client::new(remote))
}

/// A kubeconfig for a node of a cluster, for [`Node::of`](crate::Node::of): has the cluster sign a
/// certificate for `system:node:NAME`, for which `kubeconfig` must be of somebody who may have nodes.
/// `server` is the URL of the API as the node reaches it. The key does not leave this process.
///
/// # Errors
/// As [`connect`], and `Forbidden` when the cluster does not sign.
pub async fn node_kubeconfig(kubeconfig: &Kubeconfig, server: &str, name: &str) -> Result<String> {
    let application = NodeApplication::new(name, Purpose::Client, Vec::new())?;
    let client = Client::new(Remote::new(kubeconfig)?);
    let certificate_pem = application.certificate(&client).await?;
    let identity = ClientIdentity { certificate_pem, key_pem: application.key_pem() };
    let authority = kubeconfig.authority.as_deref().ok_or_else(|| {
        Error::Config("the kubeconfig does not say whose certificates to believe".to_owned())
    })?;
    let user = format!("system:node:{name}");
    Ok(kubeconfig_for(server, authority, &user, &identity))
}
