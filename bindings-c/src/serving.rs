use std::ffi::{CString, c_char};
use std::path::PathBuf;

use pinnace::ServeConfig;

use crate::boundary::{Out, handle, optional_text, options, slice, taken, text};
use crate::bytes::Bytes;
use crate::engine::Engine;
use crate::error::{Failure, PinnaceError};

/// An engine that listens. It stops when it is told to, when it is deleted, and with the engine.
pub struct Serving {
    serving: pinnace::Serving,
    url: Option<CString>,
    ca: CString,
}

/// Where to listen. Zero-initialize it and set `size` to `sizeof(pinnace_serve_options_t)`; strings
/// are borrowed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ServeOptions {
    /// Its own size.
    pub size: usize,
    /// An address for HTTPS such as `127.0.0.1:6443`; port 0 takes a free one. NULL for none.
    pub address: *const c_char,
    /// The path of a Unix socket, without TLS: the owner of this process and root may do everything
    /// over it. NULL for none.
    pub unix_path: *const c_char,
    /// More names and addresses for the certificate.
    pub names: *const *const c_char,
    /// How many there are.
    pub names_len: usize,
}

fn read_options(pointer: *const ServeOptions) -> Result<ServeConfig, Failure> {
    // SAFETY: zero is numbers and NULL, and the size comes first.
    let given = unsafe { options(pointer, "options") }?;
    let ServeOptions { address, unix_path, names, names_len, .. } = given;
    let address = optional_text(address, "address")?;
    let unix = optional_text(unix_path, "unix_path")?.map(PathBuf::from);
    if address.is_none() && unix.is_none() {
        return Err(Failure::Argument("options name neither an address nor a Unix socket".into()));
    }
    let address = address
        .map(|address| {
            let refused = |error| Failure::Argument(format!("address {address:?}: {error}"));
            address.parse().map_err(refused)
        })
        .transpose()?;
    let names = slice(names, names_len, "names")?
        .iter()
        .map(|name| Ok(text(*name, "names")?.to_owned()))
        .collect::<Result<_, Failure>>()?;
    Ok(ServeConfig { address, unix, names })
}

/// Serves the API as Kubernetes does, for kubectl and every other client. Nothing listens before
/// this is called. Everything is borrowed; `*serving` is owned by the caller.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_serve(
    engine: *const Engine,
    options: *const ServeOptions,
    serving: *mut *mut Serving,
) -> *mut PinnaceError {
    boundary! {
        let out = Out::required(serving, "serving")?;
        let engine = handle(engine, "engine")?;
        let config = read_options(options)?;
        let serving = engine.wait(engine.0.engine().serve(config))?;
        let text = |text: &str| {
            CString::new(text).map_err(|error| Failure::Argument(error.to_string()))
        };
        let url = serving.url().as_deref().map(text).transpose()?;
        let ca = text(serving.ca())?;
        out.set(Box::into_raw(Box::new(Serving { serving, url, ca })));
        Ok(())
    }
}

/// The URL of the API for clients on this machine, with the port that it became; NULL when only a
/// Unix socket is served.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_serving_url(serving: *const Serving) -> *const c_char {
    quiet!(std::ptr::null(), Some(handle(serving, "serving").ok()?.url.as_ref()?.as_ptr()))
}

/// The certificate of the authority that clients have to trust, in PEM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_serving_ca(serving: *const Serving) -> *const c_char {
    quiet!(std::ptr::null(), Some(handle(serving, "serving").ok()?.ca.as_ptr()))
}

/// Stops listening in order: watches end, requests in flight get ten seconds to finish. A second
/// call does nothing. With the engine it has stopped already: `PINNACE_CODE_CLOSED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_serving_stop(
    serving: *const Serving,
    engine: *const Engine,
) -> *mut PinnaceError {
    boundary! {
        let serving = handle(serving, "serving")?;
        handle(engine, "engine")?.wait(async {
            serving.serving.stop().await;
            Ok(())
        })
    }
}

/// Stops listening at once, unless that has been done, and frees the handle. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_serving_delete(serving: *mut Serving) {
    quiet!((), taken(serving).map(drop))
}

/// A kubeconfig for what the engine serves, with a key and a certificate that make its holder
/// `user`, a member of `groups`, for a year; the group `system:masters` may do everything. An error
/// when nothing serves HTTPS. Everything is borrowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_kubeconfig(
    engine: *const Engine,
    user: *const c_char,
    groups: *const *const c_char,
    groups_len: usize,
    kubeconfig: *mut Bytes,
) -> *mut PinnaceError {
    boundary! {
        let out = Out::required(kubeconfig, "kubeconfig")?;
        let engine = handle(engine, "engine")?;
        let user = text(user, "user")?;
        let groups = slice(groups, groups_len, "groups")?
            .iter()
            .map(|group| text(*group, "groups"))
            .collect::<Result<Vec<_>, _>>()?;
        let config = engine.0.engine().kubeconfig(user, &groups)?;
        out.set(Bytes::new(config.as_bytes()));
        Ok(())
    }
}
