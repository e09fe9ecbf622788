//! Subjects of certificates. What makes certificates can name an attribute only once, and the
//! groups of a user are as many organizations: the subject is put in afterwards, and the whole is
//! signed anew.

use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{KeyPair, SigningKey as _};
use yasna::models::ObjectIdentifier;

use crate::{Error, Result};

const COMMON_NAME: &[u64] = &[2, 5, 4, 3];
const ORGANIZATION: &[u64] = &[2, 5, 4, 10];
/// Where the subject stands in the body of a certificate, behind version, serial number, algorithm,
/// issuer and validity.
const SUBJECT: usize = 5;

/// The subject of a user and its groups, in DER.
pub(super) fn subject(user: &str, groups: &[String]) -> Vec<u8> {
    let groups = groups.iter().map(|group| (ORGANIZATION, group.as_str()));
    yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            for (kind, text) in groups.chain([(COMMON_NAME, user)]) {
                writer.next().write_set(|writer| {
                    writer.next().write_sequence(|writer| {
                        writer.next().write_oid(&ObjectIdentifier::from_slice(kind));
                        writer.next().write_utf8_string(text);
                    });
                });
            }
        });
    })
}

/// A certificate in DER with another subject, signed anew by the key that has signed it, in PEM.
pub(super) fn with_subject(der: &[u8], subject: &[u8], key: &KeyPair) -> Result<String> {
    let mut whole = parts(der)?;
    let missing = || Error::certificate("a certificate without a subject");
    let mut body = parts(whole.first().ok_or_else(missing)?)?;
    *body.get_mut(SUBJECT).ok_or_else(missing)? = subject.to_vec();
    whole[0] = sequence(&body);
    let signature = key.sign(&whole[0]).map_err(Error::certificate)?;
    *whole.last_mut().ok_or_else(missing)? =
        yasna::construct_der(|writer| writer.write_bitvec_bytes(&signature, signature.len() * 8));
    let pem = Pem::new("CERTIFICATE", sequence(&whole));
    Ok(pem::encode_config(&pem, EncodeConfig::new().set_line_ending(LineEnding::LF)))
}

/// The parts of a sequence, in DER.
fn parts(der: &[u8]) -> Result<Vec<Vec<u8>>> {
    let read = |reader: yasna::BERReader<'_, '_>| reader.collect_sequence_of(|one| one.read_der());
    yasna::parse_der(der, read).map_err(Error::certificate)
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    yasna::construct_der(|writer| {
        writer.write_sequence(|writer| parts.iter().for_each(|one| writer.next().write_der(one)));
    })
}
