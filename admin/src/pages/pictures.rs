//! Pictures of a product: several at once, in an order, the first of which is in lists.

use axum::{
    extract::{Multipart, State},
    response::Response,
};
use contract::ProductId;
use foundation::Clock;
use images::BYTES_MAX;
use ledger::LedgerClient;
use maud::{Markup, html};
use store::{ALT_CHARS_MAX, Product, ProductPatch};
use web::Path;

use super::{
    form::{Errors, Fields, Posted, Upload, button, hidden},
    frame::refused,
    products::{Part, answer},
    session::Visitor,
};
use crate::actions::{Api, Refusal, Role, catalogue as actions};

/// Pictures of one form.
pub(super) const PICTURES_MAX: usize = 6;

pub(super) fn panel<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    visitor: &Visitor,
    product: &Product,
    errors: Option<&Errors>,
) -> Markup {
    let lang = visitor.lang;
    let id = product.product_id;
    let version = product.version.to_string();
    html! {
        section.panel.stack { h2 { (lang.t("图片", "Pictures")) }
            @if let Some(errors) = errors { (errors.summary(lang)) }
            @if product.image_ids.is_empty() { p.muted { (lang.t("还没有图片。", "There is no picture yet.")) } }
            ul.pictures { @for (at, (image, url)) in api.images.ids(&product.image_ids).zip(api.images.urls(&product.image_ids)).enumerate() {
                @let text = product.image_alts.get(image).map_or("", String::as_str);
                li { img src=(url) alt=(if text.is_empty() { format!("{} {}", lang.t("图片", "Picture"), at + 1) } else { text.to_owned() }) width="120" height="120";
                    @if visitor.may(Role::Operator) {
                        @let fields = |by: &'static str| [("image", image.as_str()), ("version", version.as_str()), ("by", by)];
                        @let mover = format!("/admin/products/{id}/pictures/move");
                        div.row {
                            @if at > 0 { (button(visitor, &mover, lang.t("前移", "Earlier"), "link", &fields("-1"))) }
                            @if at + 1 < product.image_ids.len() { (button(visitor, &mover, lang.t("后移", "Later"), "link", &fields("1"))) }
                        }
                        form.stack.alt method="post" action={ "/admin/products/" (id) "/pictures/describe" } {
                            (hidden(visitor)) input type="hidden" name="image" value=(image); input type="hidden" name="version" value=(version);
                            @let label = format!("{} {}", lang.t("图片内容", "What it shows: picture"), at + 1);
                            input name="alt" value=(text) maxlength=(ALT_CHARS_MAX) aria-label=(label) placeholder=(lang.t("图片内容（替代文本）", "What it shows (alt text)"));
                            button type="submit" { (lang.t("保存", "Save")) }
                        }
                        (button(visitor, &format!("/admin/products/{id}/pictures/remove"), lang.t("移除", "Remove"), "link", &fields("0")))
                    } }
            } }
            @if visitor.may(Role::Operator) {
                form.row.wrap method="post" enctype="multipart/form-data" action={ "/admin/products/" (id) "/pictures" } {
                    (hidden(visitor))
                    label.grow { (lang.t("上传图片（PNG、JPEG、WebP、GIF，每张最大 5 MiB，每次最多 6 张）", "Upload pictures (PNG, JPEG, WebP, GIF; 5 MiB each, 6 at once)"))
                        input type="file" name="file" accept="image/png,image/jpeg,image/webp,image/gif" required multiple; }
                    button type="submit" { (lang.t("上传", "Upload")) }
                    ul.previews {}
                }
            }
        }
    }
}

pub(super) async fn add_picture<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<ProductId>,
    visitor: Visitor,
    form: Multipart,
) -> Response {
    if !visitor.may(Role::Operator) {
        return refused(&visitor);
    }
    let refuse = async |refusal: Refusal| {
        let refusing = std::future::ready(Err::<(), _>(refusal));
        answer(&api, &visitor, id, (Part::Picture, &Fields::default()), refusing).await
    };
    let upload = match Upload::read(form, PICTURES_MAX, BYTES_MAX).await {
        Ok(upload) => upload,
        Err(refusal) => return refuse(refusal).await,
    };
    if upload.fields.get("csrf") != visitor.csrf {
        return refused(&visitor);
    }
    if upload.files.is_empty() {
        return refuse(Refusal::invalid("", visitor.lang.t("请选择文件。", "Choose a file."))).await;
    }
    if upload.files.iter().any(|file| file.is_cut) {
        let text = visitor.lang.t("图片超过 5 MiB。", "A picture is longer than 5 MiB.");
        return refuse(Refusal::invalid("", text)).await;
    }
    let add = async {
        let mut added = Vec::new();
        for picture in upload.files {
            let room = api.images.room().ok_or(Refusal::Busy)?;
            let id = room.add(picture.bytes).await.map_err(|error| Refusal::invalid("", error.to_string()))?;
            added.push(id.to_string());
        }
        let product = api.store.catalogue().product(id).await?.ok_or(Refusal::Unknown("product"))?;
        let image_ids = product.image_ids.into_iter().chain(added).collect();
        let patch = ProductPatch { image_ids: Some(image_ids), ..ProductPatch::default() };
        actions::patch_product(&api, &visitor.staff, (id, product.version), patch).await
    };
    answer(&api, &visitor, id, (Part::Picture, &Fields::default()), add).await
}

pub(super) async fn remove_picture<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<ProductId>,
    Posted { visitor, fields }: Posted,
) -> Response {
    let remove = |mut pictures: Vec<String>, at: usize| {
        pictures.remove(at);
        pictures
    };
    change_pictures(&api, &visitor, id, &fields, remove).await
}

/// Earlier or later by one place. The first picture is the one in lists.
pub(super) async fn move_picture<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<ProductId>,
    Posted { visitor, fields }: Posted,
) -> Response {
    let is_later = fields.get("by") == "1";
    let swap = move |mut pictures: Vec<String>, at: usize| {
        let to = if is_later { at + 1 } else { at.saturating_sub(1) };
        if to < pictures.len() {
            pictures.swap(at, to);
        }
        pictures
    };
    change_pictures(&api, &visitor, id, &fields, swap).await
}

/// What a picture shows. An empty text makes it decoration.
pub(super) async fn describe_picture<K: LedgerClient, C: Clock>(
    State(api): State<Api<K, C>>,
    Path(id): Path<ProductId>,
    Posted { visitor, fields }: Posted,
) -> Response {
    let describing = async {
        let product = api.store.catalogue().product(id).await?.ok_or(Refusal::Unknown("product"))?;
        let (image, text) = (fields.get("image"), fields.get("alt").trim());
        if !product.image_ids.iter().any(|known| known == image) {
            return Err(Refusal::Unknown("picture"));
        }
        let mut image_alts = product.image_alts;
        if text.is_empty() {
            image_alts.remove(image);
        } else {
            image_alts.insert(image.to_owned(), text.to_owned());
        }
        let patch = ProductPatch { image_alts: Some(image_alts), ..ProductPatch::default() };
        let version = fields.get("version").parse().unwrap_or(0);
        actions::patch_product(&api, &visitor.staff, (id, version), patch).await
    };
    // The picture's own field has no place for an error, so it is shown above the pictures.
    let describing = async { describing.await.map_err(|refusal: Refusal| refusal.of_form("image_alts")) };
    answer(&api, &visitor, id, (Part::Picture, &fields), describing).await
}

async fn change_pictures<K: LedgerClient, C: Clock>(
    api: &Api<K, C>,
    visitor: &Visitor,
    id: ProductId,
    fields: &Fields,
    change: impl FnOnce(Vec<String>, usize) -> Vec<String>,
) -> Response {
    let changing = async {
        let product = api.store.catalogue().product(id).await?.ok_or(Refusal::Unknown("product"))?;
        let at = product.image_ids.iter().position(|image| image == fields.get("image"));
        let pictures = at.map(|at| change(product.image_ids, at)).ok_or(Refusal::Unknown("picture"))?;
        let patch = ProductPatch { image_ids: Some(pictures), ..ProductPatch::default() };
        let version = fields.get("version").parse().unwrap_or(0);
        actions::patch_product(api, &visitor.staff, (id, version), patch).await
    };
    answer(api, visitor, id, (Part::Picture, fields), changing).await
}
