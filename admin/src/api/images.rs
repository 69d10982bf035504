//! Pictures of products.

use axum::{
    extract::{
        Multipart, State,
        multipart::{MultipartError, MultipartRejection},
    },
    http::{HeaderMap, StatusCode},
    response::Response,
};
use foundation::Clock;
use images::{AddError, BYTES_MAX, NotTaken};
use ledger::LedgerClient;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use web::{Problem, openapi::IdempotencyKey};

use super::{
    Api,
    refused::{Refused, invalid},
    request::repeat_once,
};
use crate::actions::Staff;

/// The longest body: a picture and what a form puts around it.
pub(super) const FORM_BYTES_MAX: usize = BYTES_MAX + 64 * 1024;

/// A form with one field.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ImageForm)]
#[expect(dead_code, reason = "it describes what is read piece by piece")]
struct FormBody {
    /// A PNG, JPEG, WebP or GIF.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Image)]
struct ImageBody {
    #[schema(pattern = r"^[0-9a-f]{32}\.(png|jpg|webp|gif)$")]
    image_id: String,
    /// Its URL for browsers.
    url: String,
}

/// Upload a picture.
#[utoipa::path(
    post, path = "/images", tag = "catalogue", operation_id = "upload_image",
    params(IdempotencyKey),
    request_body(content = FormBody, content_type = "multipart/form-data"),
    responses(
        (status = 201, description = "Stored. `Idempotent-Replayed: true` if this key stored it before.", body = ImageBody,
            headers(("Idempotent-Replayed" = String, description = "`true` if the key was used before."))),
        (status = 409, description = "`request_running`: the first request with this Idempotency-Key is still being processed."),
        (status = 413, description = "`body_too_large`: a picture is at most 5 MiB."),
        (status = 415, description = "`unsupported_media_type`: not a multipart form, or the file is not a PNG, JPEG, WebP or GIF."),
        (status = 422, description = "`invalid_body`: a form with something else than one field `file`. `invalid_image`: \
            damaged, or more than 10,000 pixels wide or high or 40 million in all. `idempotency_key_reused`."),
    ),
    security(("admin" = ["operator"])),
)]
pub(super) async fn add<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    staff: Staff,
    headers: HeaderMap,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Response, Refused> {
    let form = form.map_err(|_| {
        let detail = "expected Content-Type: multipart/form-data with a boundary";
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
    })?;
    let room = api.images.room().ok_or_else(|| {
        let detail = "too many pictures are being added; try again";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry_after_s(1)
    })?;
    let picture = file(form).await?;
    let make = async {
        let id = room.add(picture.clone()).await.map_err(|error| Refused::from(&error))?;
        Ok(ImageBody { image_id: id.to_string(), url: api.images.url(id) })
    };
    repeat_once(&api, (&headers, &staff, "images"), &picture, make).await
}

/// The one field of the form.
async fn file(mut form: Multipart) -> Result<Vec<u8>, Refused> {
    let Some(mut field) = form.next_field().await.map_err(|error| broken(&error))? else {
        return Err(invalid("the form has no field file"));
    };
    if field.name() != Some("file") {
        return Err(invalid("the form has one field, file"));
    }
    let mut picture = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| broken(&error))? {
        if picture.len() + chunk.len() > BYTES_MAX {
            return Err(too_long(&NotTaken::TooLong).into());
        }
        picture.extend_from_slice(&chunk);
    }
    drop(field);
    match form.next_field().await.map_err(|error| broken(&error))? {
        None => Ok(picture),
        Some(_) => Err(invalid("the form has one field, file")),
    }
}

fn broken(error: &MultipartError) -> Refused {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return too_long(&NotTaken::TooLong).into();
    }
    invalid(&format!("the form can't be read: {}", error.body_text()))
}

fn too_long(error: &NotTaken) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", error.to_string())
}

impl From<&AddError> for Refused {
    fn from(error: &AddError) -> Self {
        let AddError::NotTaken(not_taken) = error else { return Problem::unavailable(error, 1).into() };
        let detail = not_taken.to_string();
        Self(match not_taken {
            NotTaken::TooLong => too_long(not_taken),
            NotTaken::OtherKind | NotTaken::PhoneKind => {
                Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
            }
            NotTaken::Damaged | NotTaken::Truncated | NotTaken::Size => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_image", detail)
            }
        })
    }
}
