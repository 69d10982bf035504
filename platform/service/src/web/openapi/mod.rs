//! The OpenAPI document that a service's handlers make: what they have in common is said here once.

mod page;
mod params;

use axum::Router;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, ComponentsBuilder, Content, Header, Info, KnownFormat, ObjectBuilder, OpenApi, OpenApiBuilder,
        PathItem, Ref, RefOr, Response, ResponseBuilder, Schema, SchemaFormat,
        path::{Operation, Parameter, ParameterIn},
        schema::Type,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

pub use page::other_document;
pub use params::{IdempotencyKey, IfMatch};

const PROBLEM: &str = "application/problem+json";

/// An error as clients see it (RFC 9457). Some have members besides these.
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "it describes what `web::Problem` writes")]
struct ProblemSchema {
    /// Always `about:blank`: `code` tells problems apart.
    #[schema(rename = "type")]
    kind: String,
    /// The status in words.
    title: String,
    /// The status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// For people.
    detail: String,
    /// For programs.
    #[schema(pattern = "^[a-z_]+$")]
    code: String,
    /// What the server's log has it under.
    #[schema(pattern = "^([0-9a-f]{32})?$")]
    trace_id: String,
}

/// A document without paths, whose bearer tokens go by `scheme`'s name.
pub fn document(title: &str, about: &str, (scheme, tokens): (&str, &str)) -> OpenApi {
    let mut info = Info::new(title, env!("CARGO_PKG_VERSION"));
    info.description = Some(about.to_owned());
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").description(Some(tokens));
    let components = ComponentsBuilder::new().security_scheme(scheme, SecurityScheme::Http(bearer.build()));
    OpenApiBuilder::new().info(info).components(Some(components.build())).build()
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
    router.merge(page::routes(&document))
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, options, head, patch, trace, .. } = item;
    [get, put, post, delete, options, head, patch, trace].into_iter().flatten()
}

fn complete(operation: &mut Operation, limited: bool) {
    // Names of functions are unique within their tag only.
    let tag = operation.tags.iter().flatten().next();
    if let (Some(tag), Some(name)) = (tag, &operation.operation_id) {
        operation.operation_id = Some(format!("{tag}_{name}"));
    }
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
    let texts = [
        ("CutShort", "`invalid_body`: the body ended before its end."),
        ("Unauthorized", "`invalid_token`: there is no token, or it is not valid or no longer valid."),
        ("Forbidden", "`forbidden`: the token's role does not allow it."),
        ("NotFound", "`not_found`: the path names nothing that is there for you."),
        ("TooLarge", "`body_too_large`: the body is longer than this server reads."),
        ("NotJson", "`unsupported_media_type`: the body is not `application/json`."),
        (
            "Invalid",
            "`invalid_body`, `invalid_query` or `invalid_idempotency_key`: not as described here; `detail` says what.",
        ),
        ("Limited", "`rate_limited`: too many requests; `RateLimit-Limit` says how many are not."),
        ("Failed", "`internal`: the server failed; its log has it under `trace_id`."),
        ("Unavailable", "`unavailable`, `busy` or `timeout`: nothing was decided, or it is not known; ask again."),
    ];
    for (name, text) in texts {
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
    header.description = Some("Seconds after which to ask again.".to_owned());
    header
}
