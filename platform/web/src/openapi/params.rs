//! Headers that several operations read.

use utoipa::IntoParams;

/// `Idempotency-Key`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes what `web::idempotency_key` reads")]
pub struct IdempotencyKey {
    /// 1 to 255 visible ASCII characters. The same key again is answered as the first time; what was refused is
    /// not remembered.
    #[param(rename = "Idempotency-Key", required = false, min_length = 1, max_length = 255, pattern = "^[!-~]+$")]
    idempotency_key: String,
}

/// `If-Match`.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes what a handler reads")]
pub struct IfMatch {
    /// The version to change: the `ETag` of the last answer; several of them, or `*` for any version.
    #[param(
        rename = "If-Match",
        pattern = "^([*]|(W/)?\"(0|[1-9][0-9]{0,18})\"(, (W/)?\"(0|[1-9][0-9]{0,18})\"){0,9})$",
        example = "\"1\""
    )]
    if_match: String,
}
