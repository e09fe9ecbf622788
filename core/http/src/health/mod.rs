//! `/healthz`, `/livez` and `/readyz`: whether the server lives and may be asked, in upstream's
//! words: <https://kubernetes.io/docs/reference/using-api/health-checks/>.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use parking_lot::RwLock;
use pinnace_server::Server;

/// A page of checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// `/healthz`: all checks.
    Health,
    /// `/livez`: what only a restart would mend.
    Live,
    /// `/readyz`: what must be so before requests are sent here.
    Ready,
}

impl Page {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Health, Self::Live, Self::Ready];

    fn name(self) -> &'static str {
        match self {
            Self::Health => "healthz",
            Self::Live => "livez",
            Self::Ready => "readyz",
        }
    }
}

/// Says that something is well, or what is wrong.
pub type Check = dyn Fn() -> Result<(), String> + Send + Sync;

/// Named checks. Cheap to clone; clones share.
#[derive(Clone)]
pub struct Health(Arc<RwLock<Vec<Named>>>);

struct Named {
    name: String,
    pages: Vec<Page>,
    check: Arc<Check>,
}

impl Default for Health {
    /// That it answers at all.
    fn default() -> Self {
        let health = Self(Arc::default());
        health.add("ping", &Page::ALL, || Ok(()));
        health
    }
}

impl Health {
    /// That it answers, and that what it answers from is there.
    pub(crate) fn of(server: &Server) -> Self {
        let health = Self::default();
        health.add("log", &Page::ALL, || Ok(()));
        for (name, pages) in [("etcd", &Page::ALL[..]), ("etcd-readiness", &[Page::Ready])] {
            let store = server.store().clone();
            let check = move || match store.is_open() {
                true => Ok(()),
                false => Err("the store has been closed".to_owned()),
            };
            health.add(name, pages, check);
        }
        health
    }

    /// Adds a check to some pages, or replaces the one of that name.
    pub fn add(
        &self,
        name: &str,
        pages: &[Page],
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        let named = Named { name: name.to_owned(), pages: pages.to_vec(), check: Arc::new(check) };
        let mut checks = self.0.write();
        checks.retain(|check| check.name != name);
        checks.push(named);
    }

    /// The paths of all pages and checks.
    pub fn paths(&self) -> Vec<String> {
        let checks = self.0.read();
        let mut paths = Vec::new();
        for page in Page::ALL {
            paths.push(format!("/{}", page.name()));
            let on_page = checks.iter().filter(|check| check.pages.contains(&page));
            paths.extend(on_page.map(|check| format!("/{}/{}", page.name(), check.name)));
        }
        paths
    }

    /// The answer to a GET; `None` where no page or check is.
    pub fn respond(&self, request: &Parts) -> Option<Response<Bytes>> {
        let path = request.uri.path().strip_prefix('/')?;
        let (name, check) = path.split_once('/').unwrap_or((path, ""));
        let page = Page::ALL.into_iter().find(|page| page.name() == name)?;
        // Checks may take a while; whoever adds one doesn't wait for them.
        let checks: Vec<_> = self
            .0
            .read()
            .iter()
            .filter(|one| one.pages.contains(&page) && (check.is_empty() || one.name == check))
            .map(|one| (one.name.clone(), one.check.clone()))
            .collect();
        if check.is_empty() {
            let query = request.uri.query().unwrap_or_default();
            return Some(all(page, &checks, query));
        }
        let (_, check) = checks.first()?;
        Some(match check() {
            Ok(()) => text(StatusCode::OK, "ok".to_owned()),
            Err(why) => {
                let message = format!("internal server error: {why}\n");
                text(StatusCode::INTERNAL_SERVER_ERROR, message)
            }
        })
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Health")
    }
}

fn all(page: Page, checks: &[(String, Arc<Check>)], query: &str) -> Response<Bytes> {
    let parameters: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let verbose = parameters.iter().any(|(name, _)| name == "verbose");
    let excluded = parameters.iter().filter(|(name, _)| name == "exclude");
    let mut excluded: Vec<_> = excluded.map(|(_, value)| &**value).collect();
    let mut lines = String::new();
    let mut failed = false;
    for (name, check) in checks {
        if excluded.contains(&&**name) {
            excluded.retain(|one| one != name);
            lines.push_str(&format!("[+]{name} excluded: ok\n"));
        } else if let Err(why) = check() {
            failed = true;
            // Anybody may see this page, so it doesn't say why.
            tracing::warn!(page = page.name(), check = name, why, "health check failed");
            lines.push_str(&format!("[-]{name} failed: reason withheld\n"));
        } else {
            lines.push_str(&format!("[+]{name} ok\n"));
        }
    }
    if !excluded.is_empty() {
        let names: Vec<_> = excluded.iter().map(|name| format!("{name:?}")).collect();
        lines.push_str(&format!(
            "warn: some health checks cannot be excluded: no matches for {}\n",
            names.join(", ")
        ));
    }
    match (failed, verbose) {
        (true, _) => {
            let page = page.name();
            text(StatusCode::INTERNAL_SERVER_ERROR, format!("{lines}{page} check failed\n"))
        }
        (false, true) => text(StatusCode::OK, format!("{lines}{} check passed\n", page.name())),
        (false, false) => text(StatusCode::OK, "ok".to_owned()),
    }
}

fn text(status: StatusCode, text: String) -> Response<Bytes> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(health: &Health, path: &str, status: u16, expected: &str) {
        let (parts, ()) = http::Request::get(path).body(()).unwrap().into_parts();
        let response = health.respond(&parts).unwrap_or_else(|| panic!("{path}"));
        assert_eq!(
            (response.status().as_u16(), &response.body()[..]),
            (status, expected.as_bytes())
        );
    }

    #[test]
    fn pages_say_what_upstream_says() {
        let health = Health::default();
        health.add("etcd", &[Page::Ready, Page::Health], || Err("gone".to_owned()));
        check(&health, "/livez", 200, "ok");
        check(&health, "/livez?verbose", 200, "[+]ping ok\nlivez check passed\n");
        let failed = "[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n";
        check(&health, "/readyz", 500, failed);
        check(&health, "/readyz?exclude=etcd", 200, "ok");
        let excluded = "[+]ping ok\n[+]etcd excluded: ok\n\
             warn: some health checks cannot be excluded: no matches for \"x\"\n\
             readyz check passed\n";
        check(&health, "/readyz?verbose=1&exclude=etcd&exclude=x", 200, excluded);
        check(&health, "/readyz/ping", 200, "ok");
        check(&health, "/healthz/etcd", 500, "internal server error: gone\n");
        let (parts, ()) = http::Request::get("/livez/etcd").body(()).unwrap().into_parts();
        assert!(health.respond(&parts).is_none(), "not a check of this page");
        assert!(health.paths().contains(&"/readyz/etcd".to_owned()));
    }
}
