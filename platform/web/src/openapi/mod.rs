//! The OpenAPI document that a service's handlers make: what they have in common is said here once.

mod examples;
mod page;
mod params;

use std::collections::BTreeSet;

use axum::Router;
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, ComponentsBuilder, Content, Header, Info, KnownFormat, License, ObjectBuilder, OpenApi,
        OpenApiBuilder, PathItem, Ref, RefOr, Response, ResponseBuilder, Schema, SchemaFormat, ServerBuilder,
        path::{Operation, Parameter, ParameterIn},
        schema::Type,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

pub use page::other_document;
pub use params::{IdempotencyKey, IfMatch};

const PROBLEM: &str = "application/problem+json";

/// An error (RFC 9457). Some problems have additional members.
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "it describes what `web::Problem` writes")]
struct ProblemSchema {
    /// Always `about:blank`: `code` identifies the problem.
    #[schema(rename = "type")]
    kind: String,
    /// The reason phrase of the status.
    title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// A sentence for people.
    detail: String,
    /// A code for programs.
    #[schema(pattern = "^[a-z_]+$")]
    code: String,
    /// The trace id of the request in the server's log.
    #[schema(pattern = "^([0-9a-f]{32})?$")]
    trace_id: String,
}

/// What operations answer for reasons that are not their own: the response's name, its status and its text.
const SHARED: [(&str, &str, &str); 10] = [
    ("CutShort", "400", "`invalid_body`: the body is shorter than its Content-Length."),
    ("Unauthorized", "401", "`invalid_token`: the token is missing, invalid, or no longer valid."),
    ("Forbidden", "403", "`forbidden`: the token's role does not allow this operation."),
    ("NotFound", "404", "`not_found`: nothing that you may read has this path."),
    ("TooLarge", "413", "`body_too_large`: the body is longer than this server reads."),
    ("NotJson", "415", "`unsupported_media_type`: the body is not `application/json`."),
    (
        "Invalid",
        "422",
        "`invalid_body`, `invalid_query` or `invalid_idempotency_key`: the request does not fit its schema; `detail` names the part.",
    ),
    ("Limited", "429", "`rate_limited`: too many requests; `RateLimit-Limit` is the number that is allowed."),
    ("Failed", "500", "`internal`: the server failed; its log names the cause under `trace_id`."),
    (
        "Unavailable",
        "503",
        "`unavailable`, `busy` or `timeout`: the request was not carried out, or its outcome is unknown; retry it.",
    ),
];

/// A document without paths, whose bearer tokens go by `scheme`'s name. `url` is where `make run` serves it.
pub fn document(title: &str, about: &str, url: &str, (scheme, tokens): (&str, &str)) -> OpenApi {
    let mut info = Info::new(title, env!("CARGO_PKG_VERSION"));
    info.description = Some(about.to_owned());
    let mut license = License::new(env!("CARGO_PKG_LICENSE"));
    license.identifier = Some(env!("CARGO_PKG_LICENSE").to_owned());
    info.license = Some(license);
    let server = |url: &str, about: &str| ServerBuilder::new().url(url).description(Some(about)).build();
    let servers = [server("/", "The server of this document"), server(url, "The server that `make run` starts")];
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").description(Some(tokens));
    let components = ComponentsBuilder::new().security_scheme(scheme, SecurityScheme::Http(bearer.build()));
    OpenApiBuilder::new().info(info).servers(Some(servers)).components(Some(components.build())).build()
}

/// `router` with `/openapi.json`, the completed `document`, and `/docs`, where browsers read it.
///
/// Completed with what the extractors and [`super::harden`] answer: a token that is missing or that the role
/// does not suffice for, a path that names nothing, a body or query that can't be read, a server that fails; and,
/// but on the paths `unlimited`, that somebody asks too often.
pub fn with_document(router: Router, mut document: OpenApi, unlimited: &[&str]) -> Router {
    for (path, item) in &mut document.paths.paths {
        let limited = !unlimited.contains(&path.as_str());
        operations(item).for_each(|operation| complete(operation, limited));
    }
    share(document.components.get_or_insert_default());
    let mut document = serde_json::json!(document);
    examples::add(&mut document);
    drop_unused(&mut document);
    router.merge(page::routes(&document))
}

/// Removes schemas and responses that nothing refers to, such as those that a generic type has put in twice.
fn drop_unused(document: &mut Value) {
    loop {
        let mut used = BTreeSet::new();
        references(document, &mut used);
        let mut dropped = 0;
        for kind in ["schemas", "responses"] {
            let Some(all) = document["components"][kind].as_object_mut() else { continue };
            let before = all.len();
            all.retain(|name, _| used.contains(&format!("#/components/{kind}/{name}")));
            dropped += before - all.len();
        }
        if dropped == 0 {
            return;
        }
    }
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str() {
                    Some(reference) if name == "$ref" => drop(found.insert(reference.to_owned())),
                    _ => references(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whether `path` is of an API's description: the document, or the page that shows it.
pub(super) fn is_document(path: &str) -> bool {
    ["/docs", "/openapi.json", "/openapi"]
        .iter()
        .any(|of| path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, options, head, patch, trace, .. } = item;
    [get, put, post, delete, options, head, patch, trace].into_iter().flatten()
}

fn complete(operation: &mut Operation, limited: bool) {
    // Without it a reader can't tell a public operation from a forgotten one.
    operation.security.get_or_insert_default();
    for (status, response) in &mut operation.responses.responses {
        if let (RefOr::T(response), "4" | "5") = (response, &status[..1])
            && response.content.is_empty()
        {
            response.content.insert(PROBLEM.to_owned(), problem().into());
            if matches!(status.as_str(), "429" | "503") {
                response.headers.insert("Retry-After".to_owned(), retry_after().into());
            }
        }
    }
    let limit = limited.then_some(("429", "Limited"));
    for (status, name) in common(operation).into_iter().chain(limit) {
        let shared = RefOr::Ref(Ref::from_response_name(name));
        operation.responses.responses.entry(status.to_owned()).or_insert(shared);
    }
}

/// What the operation answers for reasons that are not its own.
fn common(operation: &Operation) -> Vec<(&'static str, &'static str)> {
    let has = |place: &ParameterIn| {
        let at =
            |parameter: &RefOr<Parameter>| matches!(parameter, RefOr::T(parameter) if parameter.parameter_in == *place);
        operation.parameters.iter().flatten().any(at)
    };
    let mut common = vec![("500", "Failed"), ("503", "Unavailable")];
    // An OpenAPI document names roles where a scheme has no scopes.
    let required = operation.security.iter().flatten().map(|required| serde_json::json!(required).to_string());
    for required in required {
        common.push(("401", "Unauthorized"));
        if !required.contains("[]") {
            common.push(("403", "Forbidden"));
        }
    }
    if has(&ParameterIn::Path) {
        common.push(("404", "NotFound"));
    }
    if has(&ParameterIn::Query) || has(&ParameterIn::Header) {
        common.push(("422", "Invalid"));
    }
    if let Some(RefOr::T(body)) = &operation.request_body {
        common.extend([("400", "CutShort"), ("413", "TooLarge")]);
        if body.content.contains_key("application/json") {
            common.extend([("415", "NotJson"), ("422", "Invalid")]);
        }
    }
    common
}

fn share(components: &mut Components) {
    components.schemas.insert(ProblemSchema::name().into_owned(), ProblemSchema::schema());
    for (name, _, text) in SHARED {
        let response = ResponseBuilder::new().description(text).content(PROBLEM, problem());
        let response = match name {
            "Unauthorized" => response.header("WWW-Authenticate", text_header("The challenge of RFC 6750.")),
            "Unavailable" | "Limited" => response.header("Retry-After", retry_after()),
            _ => response,
        };
        components.responses.insert(name.to_owned(), RefOr::<Response>::from(response));
    }
}

fn problem() -> Content {
    Content::new(Some(RefOr::<Schema>::Ref(Ref::from_schema_name(ProblemSchema::name()))))
}

fn text_header(about: &str) -> Header {
    let mut header = Header::new(ObjectBuilder::new().schema_type(Type::String));
    header.description = Some(about.to_owned());
    header
}

fn retry_after() -> Header {
    let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    let mut header = Header::new(seconds.format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64))));
    header.description = Some("Seconds to wait before a retry.".to_owned());
    header
}
