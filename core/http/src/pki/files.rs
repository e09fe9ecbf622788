use std::fs;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::{Error, Result};

/// A certificate and its key, `NAME.crt` and `NAME.key`, in PEM; `None` if one is missing.
pub(super) fn read_pair(directory: &Path, name: &str) -> Result<Option<(String, String)>> {
    let read = |extension: &str| read_secret(directory, &format!("{name}.{extension}"));
    Ok(read("crt")?.zip(read("key")?))
}

/// A file of a directory that holds a secret text; `None` if there is none.
pub(super) fn read_secret(directory: &Path, name: &str) -> Result<Option<String>> {
    let path = directory.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { path, source }),
    }
}

/// Writes a text that only its owner can read, whole or not at all.
pub(super) fn write_secret(directory: &Path, name: &str, text: &str) -> Result<()> {
    make_directory(directory).map_err(|source| Error::Io { path: directory.into(), source })?;
    let path = directory.join(name);
    write_private(&path, text.as_bytes()).map_err(|source| Error::Io { path, source })
}

/// Writes a certificate and its key. Each appears whole or not at all; the key comes first, so
/// that a certificate is never without it.
pub(super) fn write_pair(directory: &Path, name: &str, certificate: &str, key: &str) -> Result<()> {
    for (extension, text) in [("key", key), ("crt", certificate)] {
        write_secret(directory, &format!("{name}.{extension}"), text)?;
    }
    Ok(())
}

fn make_directory(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

/// Writes a file that only its owner can read, in place of what was there.
fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = PathBuf::from(format!("{}.new", path.display()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

/// The first certificate of a text in PEM.
pub(crate) fn der(pem: &str) -> Result<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(Error::certificate)
}

/// When a certificate ends, in seconds since 1970.
pub(crate) fn end(pem: &str) -> Option<i64> {
    let der = der(pem).ok()?;
    let (_, certificate) = parse_x509_certificate(&der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// The names and addresses that a certificate is for.
pub(super) fn names(pem: &str) -> Option<Vec<String>> {
    let der = der(pem).ok()?;
    let (_, certificate) = parse_x509_certificate(&der).ok()?;
    let alternatives = certificate.subject_alternative_name().ok()??;
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    };
    Some(alternatives.value.general_names.iter().filter_map(name).collect())
}

/// An address as a certificate has it, as text.
pub(super) fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    address.ok().map(|address| address.to_string())
}

/// Whether a certificate names an authority's key as the one that signed it. Both files are ours:
/// this finds certificates of an authority that has been replaced, it does not prove anything.
pub(super) fn is_signed_by(pem: &str, authority: &CertificateDer<'_>) -> bool {
    use x509_parser::extensions::ParsedExtension;
    let Ok(der) = der(pem) else { return false };
    let (Ok((_, leaf)), Ok((_, authority))) =
        (parse_x509_certificate(&der), parse_x509_certificate(authority))
    else {
        return false;
    };
    let wanted =
        leaf.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                id.key_identifier.as_ref().map(|id| id.0)
            }
            _ => None,
        });
    let own =
        authority.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
            _ => None,
        });
    wanted.is_some() && wanted == own
}
