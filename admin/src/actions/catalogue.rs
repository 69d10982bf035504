//! Categories, products and SKUs.

use contract::{CategoryId, OperationId, ProductId, SkuId};
use foundation::Clock;
use images::ImageId;
use store::{
    ALT_CHARS_MAX, ATTRIBUTES_MAX, Attributes, Category, CategoryPatch, DESCRIPTION_CHARS_MAX, IMAGES_MAX, ImageAlts,
    NAME_CHARS_MAX, NewCategory, NewProduct, NewSku, Product, ProductPatch, Sku, SkuPatch, StockChanged,
    TITLE_CHARS_MAX,
};

use super::{
    Api, Refusal, Staff,
    fields::{STOCK_MAX, line, named, priced, short},
    refusal::changed,
};

pub(crate) async fn add_category<K: Sync, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    new: NewCategory,
) -> Result<Category, Refusal> {
    named(&new.name, NAME_CHARS_MAX, "name")?;
    let added = api.store_of(staff).catalogue().add_category(new, api.clock.now_ms()).await?;
    added.ok_or_else(|| Refusal::invalid("parent_id", "parent_id does not exist"))
}

/// Changes a category, and its parent where one is given.
pub(crate) async fn move_category<K: Sync, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    (id, version): (CategoryId, u64),
    (patch, parent): (CategoryPatch, Option<Option<CategoryId>>),
) -> Result<Category, Refusal> {
    patch.name.as_deref().map_or(Ok(()), |name| named(name, NAME_CHARS_MAX, "name"))?;
    changed(api.store_of(staff).catalogue().move_category(id, version, (patch, parent)).await?, "category")
}

pub(crate) async fn add_product<K: Sync, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    new: NewProduct,
) -> Result<Product, Refusal> {
    named(&new.title, TITLE_CHARS_MAX, "title")?;
    short(&new.subtitle, TITLE_CHARS_MAX, "subtitle")?;
    short(&new.description, DESCRIPTION_CHARS_MAX, "description")?;
    pictured(api, &new.image_ids).await?;
    let added = api.store_of(staff).catalogue().add_product(new, api.clock.now_ms()).await?;
    added.ok_or_else(|| Refusal::invalid("category_id", "category_id does not exist"))
}

pub(crate) async fn patch_product<K: Sync, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    (id, version): (ProductId, u64),
    patch: ProductPatch,
) -> Result<Product, Refusal> {
    patch.title.as_deref().map_or(Ok(()), |title| named(title, TITLE_CHARS_MAX, "title"))?;
    patch.subtitle.as_deref().map_or(Ok(()), |text| short(text, TITLE_CHARS_MAX, "subtitle"))?;
    patch.description.as_deref().map_or(Ok(()), |text| short(text, DESCRIPTION_CHARS_MAX, "description"))?;
    pictured(api, patch.image_ids.as_deref().unwrap_or_default()).await?;
    described(patch.image_alts.as_ref())?;
    changed(api.store_of(staff).catalogue().patch_product(id, version, patch).await?, "product")
}

pub(crate) async fn shelve<K: Sync, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    id: ProductId,
    on_shelf: bool,
) -> Result<Product, Refusal> {
    api.store_of(staff).catalogue().shelve(id, on_shelf).await?.ok_or(Refusal::Unknown("product"))
}

pub(crate) async fn add_sku<K: Sync, C: Clock>(api: &Api<K, C>, staff: &Staff, new: NewSku) -> Result<Sku, Refusal> {
    attributed(&new.attributes)?;
    priced(new.price)?;
    if new.stock > STOCK_MAX {
        return Err(Refusal::invalid("stock", "stock is 0 to 1000000000"));
    }
    let added = api.store_of(staff).catalogue().add_sku(new, api.clock.now_ms()).await?;
    added.ok_or(Refusal::Unknown("product"))
}

pub(crate) async fn patch_sku<K: Sync, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    (id, version): (SkuId, u64),
    patch: SkuPatch,
) -> Result<Sku, Refusal> {
    patch.attributes.as_ref().map_or(Ok(()), attributed)?;
    patch.price_cents.map_or(Ok(()), priced)?;
    changed(api.store_of(staff).catalogue().patch_sku(id, version, patch).await?, "SKU")
}

/// Characters of the reason for a change of stock.
pub(crate) const STOCK_REASON_CHARS_MAX: usize = 200;

/// Changes the stock of a SKU by `delta`.
pub(crate) async fn change_stock<K: Sync, C: Clock>(
    api: &Api<K, C>,
    staff: &Staff,
    (id, operation): (SkuId, OperationId),
    (delta, reason): (i64, &str),
) -> Result<Sku, Refusal> {
    if delta == 0 || delta.unsigned_abs() > STOCK_MAX {
        return Err(Refusal::invalid("delta", "delta is -1000000000 to 1000000000 and not 0"));
    }
    line(reason, STOCK_REASON_CHARS_MAX, "reason")?;
    match api.store_of(staff).catalogue().change_stock(id, operation, (delta, reason), api.clock.now_ms()).await? {
        StockChanged::Done(sku) => Ok(sku),
        StockChanged::Unknown => Err(Refusal::Unknown("SKU")),
        StockChanged::OutOfBounds(left) => Err(Refusal::sku_has(left)),
    }
}

pub(super) fn attributed(attributes: &Attributes) -> Result<(), Refusal> {
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(Refusal::invalid("attributes", "attributes are at most 10"));
    }
    for text in attributes.iter().flat_map(|(name, value)| [name, value]) {
        if named(text, NAME_CHARS_MAX, "attributes").is_err() {
            let detail =
                "each name and value of the attributes is 1 to 64 characters, none of them a control character";
            return Err(Refusal::invalid("attributes", detail));
        }
    }
    Ok(())
}

/// Checks what pictures are said to show.
fn described(image_alts: Option<&ImageAlts>) -> Result<(), Refusal> {
    let Some(image_alts) = image_alts else { return Ok(()) };
    if image_alts.len() > IMAGES_MAX {
        return Err(Refusal::invalid("image_alts", format!("image_alts are at most {IMAGES_MAX}")));
    }
    for (image, text) in image_alts {
        if line(image, ALT_CHARS_MAX, "image_alts").is_err() || line(text, ALT_CHARS_MAX, "image_alts").is_err() {
            let detail = format!("each text of image_alts is 1 to {ALT_CHARS_MAX} characters in one line");
            return Err(Refusal::invalid("image_alts", detail));
        }
    }
    Ok(())
}

async fn pictured<K: Sync, C: Clock>(api: &Api<K, C>, image_ids: &[String]) -> Result<(), Refusal> {
    if image_ids.len() > IMAGES_MAX {
        return Err(Refusal::invalid("image_ids", "image_ids are at most 20"));
    }
    for text in image_ids {
        let is_there = match text.parse::<ImageId>() {
            Ok(id) => api.images.exists(id).await.map_err(|error| Refusal::Unavailable(format!("{error:#}")))?,
            Err(_) => false,
        };
        if !is_there {
            return Err(Refusal::invalid("image_ids", "image_ids must be ids that POST /images returned"));
        }
    }
    Ok(())
}
