use http::HeaderMap;
use http::header::{ACCEPT, USER_AGENT};
use pinnace_api::printing::IncludeObject;
use pinnace_api::{ApiError, Reason, Result, protobuf};

use crate::request::Query;

/// How many forms a client may name; the rest is not looked at.
const MAX_CLAUSES: usize = 32;

/// What there is of most answers, and of most watches.
const FORMS: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
const STREAMS: &str =
    "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";

/// An encoding of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Yaml,
    /// Only for objects that are shown whole or by their metadata, of kinds that have such a form.
    Protobuf,
}

/// What of an object is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// All of it.
    Whole,
    /// A line of a table, as kubectl prints it, with so much of the object beside it.
    Table(IncludeObject),
    /// Its metadata.
    Metadata,
    /// The metadata of the objects of a list.
    MetadataList,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) encoding: Encoding,
    pub(crate) shape: Shape,
    /// Set out for people to read.
    pub(crate) pretty: bool,
}

/// Which forms there are for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Can {
    /// Objects of the catalog have tables and metadata; other answers have not.
    pub(crate) shapes: bool,
    /// Events have no form in YAML.
    pub(crate) stream: bool,
    /// Custom kinds have no form in protobuf.
    pub(crate) protobuf: bool,
}

impl Accepted {
    /// JSON, whole.
    pub(crate) const JSON: Self =
        Self { encoding: Encoding::Json, shape: Shape::Whole, pretty: false };

    /// The form that the client prefers among those that there are.
    ///
    /// # Errors
    /// `NotAcceptable`, naming what is there.
    pub(crate) fn negotiate(headers: &HeaderMap, query: &Query, can: Can) -> Result<Self> {
        let text = accept(headers);
        let pretty = is_pretty(headers, query);
        if text.trim().is_empty() {
            return Ok(Self { pretty, ..Self::JSON });
        }
        let include = IncludeObject::parse(query.get("includeObject"))?;
        clauses(&text).iter().find_map(|clause| clause.accept(can, pretty, include)).ok_or_else(
            || {
                let accepted = match (can.stream, can.protobuf) {
                    (true, true) => STREAMS,
                    (true, false) => "application/json;stream=watch",
                    (false, true) => FORMS,
                    (false, false) => "application/json, application/yaml",
                };
                let message = format!("only the following media types are accepted: {accepted}");
                ApiError::new(Reason::NotAcceptable, message)
            },
        )
    }

    /// The media type by which the answer is announced.
    pub(crate) fn media_type(self) -> &'static str {
        match self.encoding {
            Encoding::Json => "application/json",
            Encoding::Yaml => "application/yaml",
            Encoding::Protobuf => protobuf::MEDIA_TYPE,
        }
    }

    /// As [`Accepted::media_type`], for a stream of events.
    pub(crate) fn stream_type(self) -> &'static str {
        match self.encoding {
            Encoding::Protobuf => protobuf::MEDIA_TYPE_WATCH,
            _ => self.media_type(),
        }
    }
}

/// The first of the media types that a client prefers of which `choose` makes something; one that
/// names none takes all.
pub(crate) fn preferred<T>(
    headers: &HeaderMap,
    mut choose: impl FnMut(&str) -> Option<T>,
) -> Option<T> {
    let text = accept(headers);
    match text.trim() {
        "" => choose("*/*"),
        text => clauses(text).iter().find_map(|clause| choose(clause.media_type)),
    }
}

fn accept(headers: &HeaderMap) -> String {
    let header = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    header.collect::<Vec<_>>().join(",")
}

/// What a client takes, the best first.
fn clauses(text: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<_> = text.split(',').take(MAX_CLAUSES).filter_map(Clause::parse).collect();
    clauses.sort_by(|a, b| b.rank().total_cmp(&a.rank()));
    clauses
}

/// One form that a client takes.
struct Clause<'a> {
    media_type: &'a str,
    quality: f32,
    shape: Option<(&'a str, &'a str, &'a str)>,
    pretty: Option<bool>,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next().filter(|media_type| !media_type.is_empty())?;
        let (mut quality, mut shape, mut group, mut version) = (1.0, None, "", "");
        let mut pretty = None;
        for parameter in parts {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name.trim() {
                "q" => quality = value.trim().parse().unwrap_or(0.0),
                "as" => shape = Some(value),
                "g" => group = value,
                "v" => version = value,
                "pretty" => pretty = Some(value == "1"),
                _ => {}
            }
        }
        (quality > 0.0).then_some(Self {
            media_type,
            quality,
            shape: shape.map(|shape| (shape, group, version)),
            pretty,
        })
    }

    /// What is named exactly comes before what is named by a star, and the order of the client is
    /// kept among equals.
    fn rank(&self) -> f32 {
        let stars = self.media_type.matches('*').count();
        self.quality * 10.0 - f32::from(u8::try_from(stars).unwrap_or(u8::MAX))
    }

    fn accept(&self, can: Can, pretty: bool, include: IncludeObject) -> Option<Accepted> {
        let encoding = match self.media_type {
            "application/json" | "application/*" | "*/*" => Encoding::Json,
            "application/yaml" if !can.stream => Encoding::Yaml,
            protobuf::MEDIA_TYPE if can.protobuf => Encoding::Protobuf,
            _ => return None,
        };
        let shape = match self.shape {
            None => Shape::Whole,
            Some((name, "meta.k8s.io", "v1" | "v1beta1")) if can.shapes => match name {
                // As upstream: tables are of JSON.
                "Table" if encoding == Encoding::Protobuf => return None,
                "Table" => Shape::Table(include),
                "PartialObjectMetadata" => Shape::Metadata,
                "PartialObjectMetadataList" => Shape::MetadataList,
                _ => return None,
            },
            Some(_) => return None,
        };
        Some(Accepted { encoding, shape, pretty: self.pretty.unwrap_or(pretty) })
    }
}

/// Whether a person reads the answer: they ask for it, or use a program that shows it raw.
fn is_pretty(headers: &HeaderMap, query: &Query) -> bool {
    if let Some(pretty) = query.optional_flag("pretty") {
        return pretty;
    }
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|program| agent.starts_with(program))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiate(accept: &str, can: Can) -> Result<Accepted> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        Accepted::negotiate(&headers, &Query::default(), can)
    }

    #[test]
    fn the_client_gets_what_it_prefers_among_what_there_is() {
        let can = Can { shapes: true, stream: false, protobuf: true };
        let check = |accept: &str, encoding, shape| {
            let accepted = negotiate(accept, can).unwrap();
            assert_eq!((accepted.encoding, accepted.shape), (encoding, shape), "{accept}");
        };
        let go = "application/vnd.kubernetes.protobuf,application/json";
        check(go, Encoding::Protobuf, Shape::Whole);
        let table = "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io";
        let table = format!("{table},application/json;as=Table;v=v1;g=meta.k8s.io");
        check(&table, Encoding::Json, Shape::Table(IncludeObject::Metadata));
        check("*/*", Encoding::Json, Shape::Whole);
        check("", Encoding::Json, Shape::Whole);
        check("application/yaml;q=0.9, application/json;q=0.5", Encoding::Yaml, Shape::Whole);
        check("application/json;q=0.1,*/*", Encoding::Json, Shape::Whole);
        check("text/html, application/yaml", Encoding::Yaml, Shape::Whole);
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        check(table, Encoding::Json, Shape::Table(IncludeObject::Metadata));
        let metadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        check(metadata, Encoding::Json, Shape::Metadata);
        let unknown = "application/json;as=Chair;g=meta.k8s.io;v=v1,application/json";
        check(unknown, Encoding::Json, Shape::Whole);
    }

    #[test]
    fn who_takes_nothing_of_it_is_told_what_there_is() {
        let can = Can { shapes: true, stream: false, protobuf: false };
        let error = negotiate(protobuf::MEDIA_TYPE, can).unwrap_err();
        assert_eq!(error.code(), 406);
        assert!(error.message().contains("application/json, application/yaml"), "{error}");
        let stream = Can { shapes: true, stream: true, protobuf: true };
        assert!(
            negotiate("application/yaml", stream).unwrap_err().message().contains("stream=watch")
        );
    }
}
