use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, Volume,
};

use crate::pod::fields::{self, Surroundings};
use crate::pod::{record, tokens};
use crate::sources::{self, Sources};

/// The mode of files whose volume does not say.
const DEFAULT_MODE: i32 = 0o644;

/// A file of a volume.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct File {
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
}

/// The files of a volume by their paths within it.
pub(super) type Files = BTreeMap<String, File>;

/// What a volume shows of ConfigMaps, Secrets and the pod itself; nothing for other volumes.
///
/// # Errors
/// What is missing, in upstream's words.
pub(super) fn files(
    pod: &Pod,
    volume: &Volume,
    found: &Sources,
    around: &Surroundings<'_>,
) -> Result<Files, String> {
    let mut files = Files::new();
    if let Some(source) = &volume.config_map {
        let selection = Selection {
            name: &source.name,
            items: source.items.as_deref(),
            optional: source.optional == Some(true),
            mode: source.default_mode.unwrap_or(DEFAULT_MODE),
        };
        selection.config_map(found, &mut files)?;
    } else if let Some(source) = &volume.secret {
        let selection = Selection {
            name: source.secret_name.as_deref().unwrap_or_default(),
            items: source.items.as_deref(),
            optional: source.optional == Some(true),
            mode: source.default_mode.unwrap_or(DEFAULT_MODE),
        };
        selection.secret(found, &mut files)?;
    } else if let Some(source) = &volume.downward_api {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        downward(pod, source.items.as_deref().unwrap_or_default(), mode, around, &mut files)?;
    } else if let Some(source) = &volume.projected {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        for one in source.sources.iter().flatten() {
            if let Some(source) = &one.config_map {
                let (name, items) = (&source.name, source.items.as_deref());
                let optional = source.optional == Some(true);
                Selection { name, items, optional, mode }.config_map(found, &mut files)?;
            } else if let Some(source) = &one.secret {
                let (name, items) = (&source.name, source.items.as_deref());
                let optional = source.optional == Some(true);
                Selection { name, items, optional, mode }.secret(found, &mut files)?;
            } else if let Some(source) = &one.downward_api {
                let items = source.items.as_deref().unwrap_or_default();
                downward(pod, items, mode, around, &mut files)?;
            } else if let Some(source) = &one.service_account_token {
                let wanted = tokens::Wanted::of(source);
                let token = found.token(&wanted).ok_or("the token is not there yet")?;
                add(&mut files, &source.path, token.as_bytes().to_vec(), token_mode(pod, mode))?;
            }
        }
    }
    Ok(files)
}

/// Where files belong to a group, a token is for that group and not for everybody.
fn token_mode(pod: &Pod, mode: i32) -> i32 {
    let context = record::spec_of(pod).security_context.as_ref();
    let has_group = context.is_some_and(|context| context.fs_group.is_some());
    if has_group { 0o640 } else { mode }
}

/// Which keys of an object become which files.
struct Selection<'a> {
    name: &'a str,
    items: Option<&'a [KeyToPath]>,
    optional: bool,
    mode: i32,
}

impl Selection<'_> {
    fn config_map(&self, found: &Sources, files: &mut Files) -> Result<(), String> {
        let Some(map) = found.config_map(self.name) else {
            return self.missing("configmap");
        };
        let value = |key: &str| sources::config_map_value(map, key);
        self.pick(&keys_of_map(map), value, "configmap references non-existent config key", files)
    }

    fn secret(&self, found: &Sources, files: &mut Files) -> Result<(), String> {
        let Some(secret) = found.secret(self.name) else {
            return self.missing("secret");
        };
        let value = |key: &str| sources::secret_value(secret, key);
        self.pick(&keys_of_secret(secret), value, "references non-existent secret key", files)
    }

    fn missing(&self, kind: &str) -> Result<(), String> {
        if self.optional { Ok(()) } else { Err(format!("{kind} {:?} not found", self.name)) }
    }

    fn pick<'v>(
        &self,
        keys: &[&str],
        value: impl Fn(&str) -> Option<&'v [u8]>,
        missing: &str,
        files: &mut Files,
    ) -> Result<(), String> {
        let Some(items) = self.items.filter(|items| !items.is_empty()) else {
            for key in keys {
                if let Some(bytes) = value(key) {
                    add(files, key, bytes.to_vec(), self.mode)?;
                }
            }
            return Ok(());
        };
        for item in items {
            match value(&item.key) {
                Some(bytes) => {
                    add(files, &item.path, bytes.to_vec(), item.mode.unwrap_or(self.mode))?;
                }
                None if self.optional => {}
                None => return Err(format!("{missing}: {}", item.key)),
            }
        }
        Ok(())
    }
}

fn keys_of_map(map: &ConfigMap) -> Vec<&str> {
    let text = map.data.iter().flatten().map(|(key, _)| key.as_str());
    text.chain(map.binary_data.iter().flatten().map(|(key, _)| key.as_str())).collect()
}

fn keys_of_secret(secret: &Secret) -> Vec<&str> {
    secret.data.iter().flatten().map(|(key, _)| key.as_str()).collect()
}

fn downward(
    pod: &Pod,
    items: &[DownwardAPIVolumeFile],
    mode: i32,
    around: &Surroundings<'_>,
    files: &mut Files,
) -> Result<(), String> {
    for item in items {
        let value = if let Some(field) = &item.field_ref {
            fields::field(pod, &field.field_path, around)?
        } else if let Some(resource) = &item.resource_field_ref {
            fields::resource(pod, None, resource, around.allocatable)?
        } else {
            return Err(format!("file {:?} refers to nothing", item.path));
        };
        add(files, &item.path, value.into_bytes(), item.mode.unwrap_or(mode))?;
    }
    Ok(())
}

fn add(files: &mut Files, path: &str, bytes: Vec<u8>, mode: i32) -> Result<(), String> {
    let legal = !path.is_empty()
        && !path.starts_with('/')
        && !path.split('/').next().is_some_and(|first| first.starts_with(".."))
        && path.split('/').all(|part| !part.is_empty() && part != ".." && part != ".");
    if !legal {
        return Err(format!("invalid path {path:?}: must stay within the volume"));
    }
    let mode = u32::try_from(mode & 0o777).unwrap_or(0o644);
    files.insert(path.to_owned(), File { bytes, mode });
    Ok(())
}
