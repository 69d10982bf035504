//! Ids, money, numbers and texts as OpenAPI documents describe them: for `#[schema(schema_with = …)]`, with the
//! constants that the code itself compares with.

use utoipa::openapi::{
    KnownFormat, Object, ObjectBuilder, RefOr, Schema, SchemaFormat,
    schema::{SchemaType, Type},
};

/// The canonical decimal form. Which numbers of 19 digits are above 2^63 - 1 is not said here.
const ID_PATTERN: &str = "^(0|[1-9][0-9]{0,18})$";
/// No control character, and not blanks alone.
const LINE_PATTERN: &str =
    r"^[^\u0000-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F][^\u0000-\u001F\u007F-\u009F]*$";
/// As [`LINE_PATTERN`], but with line feeds and tabs.
const NAME_PATTERN: &str = r"^[^\u0000-\u0008\u000B-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F][^\u0000-\u0008\u000B-\u001F\u007F-\u009F]*$";
/// No control characters but line feeds and tabs.
const TEXT_PATTERN: &str = r"^[^\u0000-\u0008\u000B-\u001F\u007F-\u009F]*$";

pub(crate) fn id(description: &str) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(ID_PATTERN));
    text.description(Some(description.trim())).examples(["7331425023410176"]).into()
}

pub(crate) fn cents() -> RefOr<Schema> {
    let Schema::Object(mut number) = whole::<0, { i64::MAX }>() else { unreachable!("a number") };
    number.description = Some("An amount in cents (分).".to_owned());
    number.examples = vec![399_900.into()];
    RefOr::T(number.into())
}

/// An integer from `MIN` to `MAX`.
pub fn whole<const MIN: i64, const MAX: i64>() -> Schema {
    let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(MIN)).maximum(Some(MAX));
    number.format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64))).build().into()
}

/// [`whole`], or null.
pub fn whole_or_null<const MIN: i64, const MAX: i64>() -> Schema {
    or_null(whole::<MIN, MAX>())
}

/// 1 to `MAX` characters, none of them a control character, and not blanks alone.
pub fn line<const MAX: usize>() -> Schema {
    text_like(1, MAX, LINE_PATTERN).into()
}

/// 1 to `MAX` characters, none of them a control character but line feeds and tabs, and not blanks alone.
pub fn name<const MAX: usize>() -> Schema {
    text_like(1, MAX, NAME_PATTERN).into()
}

/// [`name`], or null.
pub fn name_or_null<const MAX: usize>() -> Schema {
    or_null(name::<MAX>())
}

/// At most `MAX` characters, none of them a control character but line feeds and tabs.
pub fn text<const MAX: usize>() -> Schema {
    text_like(0, MAX, TEXT_PATTERN).into()
}

/// [`text`], or null.
pub fn text_or_null<const MAX: usize>() -> Schema {
    or_null(text::<MAX>())
}

/// An RFC 3339 time.
pub fn time() -> Schema {
    let text = ObjectBuilder::new().schema_type(Type::String);
    let text = text.format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    text.examples(["2026-11-22T08:00:00.000Z"]).build().into()
}

/// [`time`], or null.
pub fn time_or_null() -> Schema {
    or_null(time())
}

/// Names with values, at most `MAX` of them, as [`name`] has it with `CHARS`.
pub fn names<const MAX: usize, const CHARS: usize>() -> Schema {
    let object = ObjectBuilder::new().property_names(Some(name::<CHARS>())).max_properties(Some(MAX));
    object.additional_properties(Some(name::<CHARS>())).build().into()
}

/// [`names`], or null.
pub fn names_or_null<const MAX: usize, const CHARS: usize>() -> Schema {
    or_null(names::<MAX, CHARS>())
}

fn text_like(min: usize, max: usize, pattern: &str) -> Object {
    let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(min)).max_length(Some(max));
    text.pattern(Some(pattern)).build()
}

fn or_null(schema: Schema) -> Schema {
    let Schema::Object(mut object) = schema else { unreachable!("a value") };
    let SchemaType::Type(one) = object.schema_type else { unreachable!("of one type") };
    object.schema_type = SchemaType::Array(vec![one, Type::Null]);
    object.into()
}
