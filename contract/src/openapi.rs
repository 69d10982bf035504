//! Ids and money as OpenAPI documents describe them.

use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, schema::Type};

/// The canonical decimal form. Which numbers of 19 digits are above 2^63 - 1 is not said here.
const ID_PATTERN: &str = "^(0|[1-9][0-9]{0,18})$";

pub(crate) fn id(description: &str) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(ID_PATTERN));
    text.description(Some(description.trim())).examples(["7331425023410176"]).into()
}

pub(crate) fn cents() -> RefOr<Schema> {
    let number = ObjectBuilder::new().schema_type(Type::Integer).format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
    number.minimum(Some(0)).description(Some("An amount in cents (分).")).examples([399_900]).into()
}
