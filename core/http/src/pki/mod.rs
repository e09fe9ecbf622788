//! Keys and certificates: an authority of our own, what it signs for serving, and for clients.

mod files;
mod kubeconfig;
mod names;
mod request;
mod signing;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use pinnace_env::Env;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

pub(crate) use files::{der, end};
pub use kubeconfig::{kubeconfig, kubeconfig_for};
pub use request::RequestedCertificate;
pub use signing::signing_key;

use crate::{Error, Result};

/// Name of the authority.
const AUTHORITY_NAME: &str = "pinnace-ca";
/// How long its certificate lasts, and those that it signs.
const AUTHORITY_DAYS: u64 = 3650;
const LEAF_DAYS: u64 = 365;
/// A certificate with fewer days left is made anew.
const RENEW_DAYS: u64 = 30;
const DAY_SECONDS: u64 = 24 * 60 * 60;
/// The names under which the API is found from within the cluster and from this machine.
const NAMES: [&str; 7] = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "127.0.0.1",
    "::1",
];

/// A certificate authority. Its key never leaves it.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
    directory: Option<PathBuf>,
    env: Env,
}

/// A key with a certificate that names a user and its groups, both in PEM.
#[derive(Clone)]
pub struct ClientIdentity {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key.
    pub key_pem: String,
}

/// A key with its certificates, to serve with.
pub(crate) struct ServingIdentity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Authority {
    /// The authority whose key and certificate are in `directory`; made there, readable by its
    /// owner alone, if there is none yet or it is about to end. Without a directory it lives as
    /// long as this value.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Certificate`].
    pub fn open(directory: Option<&Path>, env: &Env) -> Result<Self> {
        let stored = match directory {
            Some(directory) => files::read_pair(directory, "ca")?,
            None => None,
        };
        let fresh = stored.filter(|(certificate, _)| days_left(certificate, env) > RENEW_DAYS);
        let (pem, key) = match fresh {
            Some((pem, key)) => (pem, KeyPair::from_pem(&key).map_err(Error::certificate)?),
            None => {
                let key = KeyPair::generate().map_err(Error::certificate)?;
                let certificate =
                    authority_params(env).self_signed(&key).map_err(Error::certificate)?;
                let pem = certificate.pem();
                if let Some(directory) = directory {
                    files::write_pair(directory, "ca", &pem, &key.serialize_pem())?;
                }
                (pem, key)
            }
        };
        Ok(Self {
            certificate: files::der(&pem)?,
            issuer: Issuer::new(authority_params(env), key),
            pem,
            directory: directory.map(Path::to_owned),
            env: env.clone(),
        })
    }

    /// Its certificate, in PEM: what clients have to trust.
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A key and a certificate for a user, good for a year.
    ///
    /// # Errors
    /// [`Error::Certificate`].
    pub fn client(&self, user: &str, groups: &[String]) -> Result<ClientIdentity> {
        let mut params = leaf_params(&self.env);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().map_err(Error::certificate)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(Error::certificate)?;
        let subject = names::subject(user, groups);
        let certificate_pem = names::with_subject(certificate.der(), &subject, self.issuer.key())?;
        Ok(ClientIdentity { certificate_pem, key_pem: key.serialize_pem() })
    }

    /// What to serve with: what is stored, if it names all of `names` and lasts, else made anew.
    pub(crate) fn serving(&self, names: &[String]) -> Result<ServingIdentity> {
        let mut names = names.to_vec();
        names.extend(NAMES.map(str::to_owned));
        names.sort();
        names.dedup();
        let stored = match &self.directory {
            Some(directory) => files::read_pair(directory, "apiserver")?,
            None => None,
        };
        let good = |pem: &str| {
            days_left(pem, &self.env) > RENEW_DAYS
                && files::names(pem).is_some_and(|has| names.iter().all(|name| has.contains(name)))
                && files::is_signed_by(pem, &self.certificate)
        };
        let (pem, key) = match stored.filter(|(pem, _)| good(pem)) {
            Some((pem, key)) => (pem, KeyPair::from_pem(&key).map_err(Error::certificate)?),
            None => {
                let (pem, key) = self.make_serving(&names)?;
                if let Some(directory) = &self.directory {
                    files::write_pair(directory, "apiserver", &pem, &key.serialize_pem())?;
                }
                (pem, key)
            }
        };
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok(ServingIdentity {
            chain: vec![files::der(&pem)?, self.certificate.clone()],
            key: PrivateKeyDer::Pkcs8(key),
        })
    }

    fn make_serving(&self, names: &[String]) -> Result<(String, KeyPair)> {
        let named = CertificateParams::new(names.to_vec()).map_err(Error::certificate)?;
        let mut params = leaf_params(&self.env);
        params.subject_alt_names = named.subject_alt_names;
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().map_err(Error::certificate)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(Error::certificate)?;
        Ok((certificate.pem(), key))
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

impl std::fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientIdentity")
    }
}

fn authority_params(env: &Env) -> CertificateParams {
    let mut params = lasting(env, AUTHORITY_DAYS);
    params.distinguished_name.push(DnType::CommonName, AUTHORITY_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params
}

fn leaf_params(env: &Env) -> CertificateParams {
    let mut params = lasting(env, LEAF_DAYS);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

/// Parameters of a certificate that ends so many days from now. It begins long ago: the other
/// side's clock is not ours, the less so when ours is simulated.
fn lasting(env: &Env, days: u64) -> CertificateParams {
    let now = u64::try_from(env.now().as_second()).unwrap_or(0);
    lasting_for(now.saturating_add(days * DAY_SECONDS))
}

/// Parameters of a certificate that ends then.
fn lasting_until(end: jiff::Timestamp) -> CertificateParams {
    lasting_for(u64::try_from(end.as_second()).unwrap_or(0))
}

fn lasting_for(end: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    let end = std::time::Duration::from_secs(end);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + end;
    params.distinguished_name = DistinguishedName::new();
    params
}

/// Days until a certificate ends; 0 for one that cannot be read.
fn days_left(pem: &str, env: &Env) -> u64 {
    let Some(end) = files::end(pem) else { return 0 };
    u64::try_from(end.saturating_sub(env.now().as_second())).unwrap_or(0) / DAY_SECONDS
}

/// Whether a name is an address, which a certificate names in another way.
pub(crate) fn address_name(address: IpAddr) -> Option<String> {
    (!address.is_unspecified()).then(|| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_for_their_owner_alone_and_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let (path, env) = (directory.path().join("pki"), Env::simulated(1));
        let names = ["node.example".to_owned(), "10.1.2.3".to_owned()];
        let first = Authority::open(Some(&path), &env).unwrap();
        let served = first.serving(&names).unwrap();
        let again = Authority::open(Some(&path), &env).unwrap();
        assert_eq!(first.certificate_pem(), again.certificate_pem());
        assert_eq!(served.chain, again.serving(&names).unwrap().chain);
        let other = again.serving(&["other.example".to_owned()]).unwrap();
        assert_ne!(served.chain, other.chain, "a name more makes a new certificate");
        #[cfg(unix)]
        for file in ["ca.key", "ca.crt", "apiserver.key", "apiserver.crt"] {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(path.join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_about_to_end_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let env = Env::simulated(1);
        let authority = Authority::open(Some(directory.path()), &env).unwrap();
        let first = authority.serving(&[]).unwrap().chain;
        tokio::time::advance(std::time::Duration::from_secs(340 * DAY_SECONDS)).await;
        assert_ne!(first, authority.serving(&[]).unwrap().chain);
        let again = Authority::open(Some(directory.path()), &env).unwrap();
        assert_eq!(authority.certificate_pem(), again.certificate_pem());
        tokio::time::advance(std::time::Duration::from_secs(3300 * DAY_SECONDS)).await;
        let renewed = Authority::open(Some(directory.path()), &env).unwrap();
        assert_ne!(authority.certificate_pem(), renewed.certificate_pem());
    }
}
