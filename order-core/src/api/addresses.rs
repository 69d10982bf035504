//! Where a shopper has things sent.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
};
use contract::AddressId;
use serde::Serialize;
use store::{ADDRESSES_MAX, AddedAddress, Address, AddressFields};
use utoipa::ToSchema;
use web::{Json, Path, Problem};

use super::{Api, Shopper, failed, location, no_store};

#[derive(Serialize, ToSchema)]
struct Addresses {
    items: Vec<Address>,
}

/// Your addresses.
#[utoipa::path(
    get, path = "/api/v1/addresses", tag = "addresses", operation_id = "list_addresses",
    responses((status = 200, description = "All of them.", body = Addresses)),
    security(("shopper" = [])),
)]
pub(super) async fn list(State(api): State<Api>, Shopper(user): Shopper) -> Result<impl IntoResponse, Problem> {
    let items = api.store.accounts().addresses(user).await.map_err(failed)?;
    Ok((no_store(), Json(Addresses { items })))
}

/// One of your addresses.
#[utoipa::path(
    get, path = "/api/v1/addresses/{address_id}", tag = "addresses", operation_id = "get_address",
    params(("address_id" = AddressId, Path)),
    responses((status = 200, description = "The address.", body = Address)),
    security(("shopper" = [])),
)]
pub(super) async fn one(
    State(api): State<Api>,
    Shopper(user): Shopper,
    Path(address): Path<AddressId>,
) -> Result<impl IntoResponse, Problem> {
    let found = api.store.accounts().address(user, address).await.map_err(failed)?;
    Ok((no_store(), Json(found.ok_or_else(unknown)?)))
}

/// Add an address.
#[utoipa::path(
    post, path = "/api/v1/addresses", tag = "addresses", operation_id = "add_address",
    request_body = AddressFields,
    responses(
        (status = 201, description = "Added.", body = Address, headers(("Location" = String, description = "Its path."))),
        (status = 404, description = "`not_found`: the token's user is not registered."),
        (status = 409, description = "`too_many_addresses`: delete one first."),
    ),
    security(("shopper" = [])),
)]
pub(super) async fn add(
    State(api): State<Api>,
    Shopper(user): Shopper,
    Json(fields): Json<AddressFields>,
) -> Result<impl IntoResponse, Problem> {
    check(&fields)?;
    match api.store.accounts().add_address(user, &fields, api.now_ms()).await.map_err(failed)? {
        AddedAddress::Added(address) => {
            let at: HeaderMap = location(&format!("/api/v1/addresses/{}", address.address_id));
            Ok((StatusCode::CREATED, at, Json(address)))
        }
        AddedAddress::UnknownUser => Err(Problem::not_found("the token's user is not registered")),
        AddedAddress::TooMany => {
            let detail = format!("you have {ADDRESSES_MAX} addresses already; delete one");
            Err(Problem::new(StatusCode::CONFLICT, "too_many_addresses", detail))
        }
    }
}

/// Replace an address.
#[utoipa::path(
    put, path = "/api/v1/addresses/{address_id}", tag = "addresses", operation_id = "replace_address",
    params(("address_id" = AddressId, Path)),
    request_body = AddressFields,
    responses((status = 200, description = "The updated address.", body = Address)),
    security(("shopper" = [])),
)]
pub(super) async fn put(
    State(api): State<Api>,
    Shopper(user): Shopper,
    Path(address): Path<AddressId>,
    Json(fields): Json<AddressFields>,
) -> Result<impl IntoResponse, Problem> {
    check(&fields)?;
    let put = api.store.accounts().put_address(user, address, &fields).await.map_err(failed)?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(put.ok_or_else(unknown)?)))
}

/// Delete an address. Orders keep their own copy.
#[utoipa::path(
    delete, path = "/api/v1/addresses/{address_id}", tag = "addresses", operation_id = "delete_address",
    params(("address_id" = AddressId, Path)),
    responses((status = 204, description = "Deleted.")),
    security(("shopper" = [])),
)]
pub(super) async fn delete(
    State(api): State<Api>,
    Shopper(user): Shopper,
    Path(address): Path<AddressId>,
) -> Result<StatusCode, Problem> {
    let deleted = api.store.accounts().delete_address(user, address).await.map_err(failed)?;
    if deleted { Ok(StatusCode::NO_CONTENT) } else { Err(unknown()) }
}

fn unknown() -> Problem {
    Problem::not_found("you have no such address")
}

fn check(fields: &AddressFields) -> Result<(), Problem> {
    let texts = [
        ("recipient", &fields.recipient, store::RECIPIENT_CHARS_MAX),
        ("phone", &fields.phone, store::PHONE_CHARS_MAX),
        ("region", &fields.region, store::REGION_CHARS_MAX),
        ("detail", &fields.detail, store::DETAIL_CHARS_MAX),
    ];
    for (name, text, max) in texts {
        if text.trim().is_empty() || text.chars().count() > max || text.chars().any(char::is_control) {
            return Err(Problem::invalid_body(format!("{name} is 1 to {max} characters in one line")));
        }
    }
    Ok(())
}
