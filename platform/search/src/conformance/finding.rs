//! Words, order, filters, facets, bad input.

use contract::{ids::CategoryId, money::Cents};

use super::{Make, attribute, built, category, found, found_by_id, numbers, offers, page, product};
use crate::{
    index::SearchError,
    limits::{PAGE_HITS_MAX, QUERY_CHARS_MAX, SUGGESTIONS_MAX},
    product::Product,
    request::{SearchRequest, Sort},
    text::Fragment,
};

/// The text that pieces are of.
fn whole(pieces: &[Fragment]) -> String {
    pieces.iter().map(|piece| piece.text.as_str()).collect()
}

fn shelf() -> Vec<Product> {
    let phones = || vec![category(10, "手机数码"), category(11, "手机")];
    let shells = || vec![category(10, "手机数码"), category(12, "手机配件"), category(13, "手机壳")];
    let clothes = || vec![category(20, "女装"), category(21, "连衣裙")];
    vec![
        Product { categories: phones(), ..product(1, "华为 Mate60 Pro 智能手机 256GB 雅川青") },
        Product { categories: phones(), ..product(2, "Apple iPhone15Pro 手機 黑色钛金属") },
        Product { categories: phones(), ..product(3, "小米14 Ultra 5G手机") },
        Product { categories: shells(), ..product(4, "防摔手机壳 适用 iPhone 15 Pro") },
        Product {
            categories: clothes(),
            attributes: vec![attribute("颜色", "红色"), attribute("尺码", "XL")],
            ..product(5, "雪纺碎花连衣裙 女夏")
        },
        Product {
            categories: clothes(),
            attributes: vec![attribute("颜色", "黑")],
            ..product(6, "Nestlé 针织连衣裙 Running Shoes")
        },
        Product { subtitle: "送保温杯".to_owned(), ..product(7, "索尼 WH-1000XM5 头戴式 降噪耳机") },
        product(8, "银行音乐会员 重庆火锅 ＳＡＭＳＵＮＧ"),
        product(9, "RX-7800XT 显卡"),
        product(10, "鲜花生日礼物"),
    ]
}

pub(super) fn words(make: &Make<'_>) {
    let index = built(make, shelf());
    let check = |q: &str, expect: &[i64]| assert_eq!(found_by_id(index.as_ref(), q), expect, "{q}");
    // Chinese, whole words and parts of them, without and with spaces.
    check("连衣裙", &[5, 6]);
    check("华为手机", &[1]);
    check("华为 手机", &[1]);
    check("碎花", &[5]);
    check("智能手", &[1]);
    check("衣裙", &[5, 6]);
    check("机壳", &[4]);
    check("連衣裙", &[5, 6]);
    check("花生", &[10]);
    // Letters and numbers, however they are written.
    check("IPHONE15PRO", &[2, 4]);
    check("iphone 15", &[2, 4]);
    check("ｍａｔｅ６０", &[1]);
    check("mate 60", &[1]);
    check("256gb", &[1]);
    check("256 GB", &[1]);
    check("rx7800xt", &[9]);
    check("RX 7800 XT", &[9]);
    check("7800", &[9]);
    check("wh1000xm5", &[7]);
    check("nestle", &[6]);
    check("shoe", &[6]);
    check("run", &[6]);
    // The beginning, a typo, pinyin.
    check("sams", &[8]);
    check("samsnug", &[8]);
    check("sansung", &[8]);
    check("lianyiqun", &[5, 6]);
    check("huaweishouji", &[1]);
    check("hua wei", &[1]);
    check("lyq", &[5, 6]);
    check("yinhang", &[8]);
    check("yinyue", &[8]);
    check("chongqing", &[8]);
    // Subtitles, values, categories and those above them.
    check("保温杯", &[7]);
    check("红色 连衣裙", &[5]);
    check("黑色连衣裙", &[6]);
    check("女装", &[5, 6]);
    check("手机数码", &[1, 2, 3, 4]);
    // All words, otherwise any.
    check("索尼 连衣裙", &[5, 6, 7]);
    check("女裙", &[5]);
    check("连衣裙 的", &[5, 6]);
    check("没有的东西", &[]);
}

pub(super) fn best_first(make: &Make<'_>) {
    let index = built(make, shelf());
    let first = |q: &str, expect: i64| assert_eq!(found(index.as_ref(), q).first(), Some(&expect), "{q}");
    first("手机壳", 4);
    first("iphone 15 pro", 2);
    first("黑色 手机", 2);
    first("mate60 pro", 1);
    assert_eq!(found(index.as_ref(), "手机").last(), Some(&4), "a shell for it is found after it");

    // Where the category has the word as well, the title decides.
    let watches = || vec![category(30, "Watches"), category(31, "手表")];
    let index = built(
        make,
        vec![
            Product { categories: watches(), sales: 90_000, ..product(40, "Leather strap") },
            Product { categories: watches(), ..product(41, "Diving watch in steel with a long title 200 m") },
            Product { categories: watches(), sales: 90_000, ..product(42, "真皮表带") },
            Product { categories: watches(), ..product(43, "潜水手表 精钢 200 米 夜光 日历 蓝宝石") },
        ],
    );
    let first = |q: &str, expect: i64| assert_eq!(found(index.as_ref(), q).first(), Some(&expect), "{q}");
    first("watches", 41);
    first("watch", 41);
    first("手表", 43);
}

pub(super) fn filters(make: &Make<'_>) {
    let mut products = shelf();
    products[0].offers = offers(&[500, 9_000]);
    products[0].offers[0].in_stock = false;
    products[1].offers[0].in_stock = false;
    products[2].offers = offers(&[0]);
    let index = built(make, products);
    let request = SearchRequest { limit: 100, ..SearchRequest::new("手机") };
    let check = |request: SearchRequest, expect: &[i64]| {
        let page = page(index.as_ref(), &request);
        let mut numbers = numbers(&page);
        numbers.sort_unstable();
        assert_eq!(numbers, expect, "{request:?}");
        assert_eq!(page.total, expect.len() as u64, "{request:?}");
    };
    let of = |number: i64| CategoryId::from_i64(number);
    check(SearchRequest { category_id: of(10), ..request.clone() }, &[1, 2, 3, 4]);
    check(SearchRequest { category_id: of(11), ..request.clone() }, &[1, 2, 3]);
    check(SearchRequest { category_id: of(12), ..request.clone() }, &[4]);
    check(SearchRequest { category_id: of(99), ..request.clone() }, &[]);
    let prices = |min: Option<i64>, max: Option<i64>| SearchRequest {
        min_price_cents: min.map(Cents::new),
        max_price_cents: max.map(Cents::new),
        ..request.clone()
    };
    check(prices(Some(500), Some(9_000)), &[1]);
    check(prices(Some(501), Some(8_999)), &[]);
    check(prices(Some(9_001), None), &[2, 4]);
    check(prices(None, Some(0)), &[3]);
    check(prices(Some(0), None), &[1, 2, 3, 4]);
    check(SearchRequest { in_stock: Some(true), ..request.clone() }, &[1, 3, 4]);
    check(SearchRequest { in_stock: Some(false), ..request.clone() }, &[2]);
    // Price and stock are those of one SKU.
    check(SearchRequest { in_stock: Some(true), ..prices(Some(500), Some(500)) }, &[]);
    check(SearchRequest { in_stock: Some(false), ..prices(Some(500), Some(500)) }, &[1]);
    check(SearchRequest { in_stock: Some(true), ..prices(Some(500), Some(9_000)) }, &[1]);
    check(SearchRequest { in_stock: Some(false), ..prices(Some(500), Some(9_000)) }, &[]);
    // What fits no filter is no reason to take words less strictly.
    check(SearchRequest { category_id: of(20), ..request }, &[]);
}

pub(super) fn facets(make: &Make<'_>) {
    let mut products = shelf();
    products[0].offers = offers(&[500, 9_999, 9_000]);
    products[1].offers[0].in_stock = false;
    let index = built(make, products);
    let request = SearchRequest {
        facets: true,
        price_bounds_cents: vec![Cents::new(1_000), Cents::new(10_000)],
        limit: 1,
        ..SearchRequest::new("手机")
    };
    let check = |request: &SearchRequest, categories: &[(i64, u64)], prices: [u64; 3], stock: (u64, u64)| {
        let facets = page(index.as_ref(), request).facets.expect("they were asked for");
        let counted: Vec<(i64, u64)> =
            facets.categories.iter().map(|count| (count.category_id.as_i64(), count.count)).collect();
        assert_eq!(counted, categories, "{request:?}");
        assert_eq!(facets.prices.iter().map(|band| band.count).collect::<Vec<_>>(), prices, "{request:?}");
        assert_eq!((facets.in_stock, facets.out_of_stock), stock, "{request:?}");
        let bounds: Vec<_> = facets.prices.iter().map(|band| (band.from_cents, band.below_cents)).collect();
        let (low, high) = (Some(Cents::new(1_000)), Some(Cents::new(10_000)));
        assert_eq!(bounds, [(None, low), (low, high), (high, None)]);
    };
    check(&request, &[(10, 4), (11, 3), (12, 1), (13, 1)], [1, 1, 3], (3, 1));
    let shells = SearchRequest { category_id: CategoryId::from_i64(12), ..request.clone() };
    check(&shells, &[(10, 4), (11, 3), (12, 1), (13, 1)], [0, 0, 1], (1, 0));
    let cheap = SearchRequest { max_price_cents: Some(Cents::new(1_000)), in_stock: Some(true), ..request.clone() };
    check(&cheap, &[(10, 1), (11, 1)], [1, 1, 2], (1, 0));
    // Without its middle SKU the first phone is out of stock in the middle band alone.
    let mut products = shelf();
    products[0].offers = offers(&[500, 9_999, 9_000]);
    (1..3).for_each(|sku| products[0].offers[sku].in_stock = false);
    products[1].offers[0].in_stock = false;
    let index = built(make, products);
    let bands = |in_stock: Option<bool>| {
        let facets = page(index.as_ref(), &SearchRequest { in_stock, ..request.clone() }).facets.expect("as asked");
        facets.prices.iter().map(|band| band.count).collect::<Vec<_>>()
    };
    assert_eq!(bands(None), [1, 1, 3]);
    assert_eq!(bands(Some(true)), [1, 0, 2]);
    assert_eq!(bands(Some(false)), [0, 1, 1]);
    assert_eq!(page(index.as_ref(), &SearchRequest { facets: false, ..request.clone() }).facets, None);
    let none = page(index.as_ref(), &SearchRequest { q: "?".to_owned(), ..request });
    assert!(none.facets.is_some_and(|facets| facets.categories.is_empty()));
}

pub(super) fn fragments(make: &Make<'_>) {
    let mut products = shelf();
    products
        .push(Product { subtitle: "<b>送</b>手机".to_owned(), ..product(20, "<script>alert('手机')</script>") });
    let index = built(make, products);
    let matched = |q: &str, number: i64| -> Vec<String> {
        let page = page(index.as_ref(), &SearchRequest { limit: 100, ..SearchRequest::new(q) });
        let hit = page.hits.iter().find(|hit| hit.product.id.as_i64() == number).expect("it is found");
        assert_eq!(whole(&hit.title), hit.product.title, "the pieces are the title");
        assert_eq!(whole(&hit.subtitle), hit.product.subtitle, "the pieces are the subtitle");
        let pieces = hit.title.iter().chain(&hit.subtitle);
        pieces.filter(|piece| piece.matched).map(|piece| piece.text.clone()).collect()
    };
    assert_eq!(matched("手机", 2), ["手機"]);
    assert_eq!(matched("iphone", 2), ["iPhone"]);
    assert_eq!(matched("mate60", 1), ["Mate60"]);
    assert_eq!(matched("华为手机", 1), ["华为", "手机"]);
    assert_eq!(matched("nestle", 6), ["Nestlé"]);
    assert_eq!(matched("samsnug", 8), ["ＳＡＭＳＵＮＧ"]);
    assert_eq!(matched("lianyiqun", 5), ["连衣裙"]);
    assert_eq!(matched("保温杯", 7), ["保温杯"]);
    assert_eq!(matched("手机", 20), ["手机", "手机"]);
}

pub(super) fn suggestions(make: &Make<'_>) {
    let mut products = shelf();
    products.push(product(30, "防摔手机壳 适用 iPhone 15 Pro"));
    let index = built(make, products);
    let suggested = |q: &str| -> Vec<String> {
        let suggestions = index.suggest(q, 5).expect("the index answers");
        assert!(suggestions.iter().all(|one| whole(&one.title) == one.text), "{q}");
        suggestions.into_iter().map(|suggestion| suggestion.text).collect()
    };
    let has =
        |q: &str, part: &str| assert!(suggested(q).iter().any(|text| text.contains(part)), "{q}: {:?}", suggested(q));
    has("连", "连衣裙");
    has("碎", "碎花");
    has("华为 手", "华为");
    has("ipho", "iPhone");
    has("i", "iPhone");
    has("huaw", "华为");
    has("huaweish", "华为");
    has("shouj", "手机壳");
    has("rx", "RX-7800XT");
    has("华为 zzzz", "华为");
    let shells = suggested("手机壳");
    assert_eq!(shells.iter().filter(|text| text.contains("防摔")).count(), 1, "each title once: {shells:?}");
    for nothing in ["", " ", "?!", "\0", "没有的东西"] {
        assert!(suggested(nothing).is_empty(), "{nothing:?}");
    }
    let field = |q: &str, limit: usize| match index.suggest(q, limit) {
        Err(SearchError::Invalid(invalid)) => invalid.field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field("手机", 0), "limit");
    assert_eq!(field("手机", SUGGESTIONS_MAX + 1), "limit");
    assert_eq!(field(&"长".repeat(QUERY_CHARS_MAX + 1), 5), "q");
}

pub(super) fn invalid_requests(make: &Make<'_>) {
    let index = built(make, shelf());
    let request = SearchRequest::new("手机");
    let check = |request: SearchRequest, field: &str| match index.search(&request) {
        Err(SearchError::Invalid(invalid)) => assert_eq!(invalid.field, field, "{request:?}"),
        other => panic!("{request:?}: {other:?}"),
    };
    let cents = |cents: i64| Some(Cents::new(cents));
    check(SearchRequest { q: "长".repeat(QUERY_CHARS_MAX + 1), ..request.clone() }, "q");
    check(SearchRequest { q: "x".repeat(10 * 1_024), ..request.clone() }, "q");
    check(SearchRequest { limit: 0, ..request.clone() }, "limit");
    check(SearchRequest { limit: PAGE_HITS_MAX + 1, ..request.clone() }, "limit");
    check(SearchRequest { limit: usize::MAX, ..request.clone() }, "limit");
    check(SearchRequest { min_price_cents: cents(-1), ..request.clone() }, "min_price_cents");
    check(SearchRequest { max_price_cents: cents(i64::MIN), ..request.clone() }, "max_price_cents");
    check(SearchRequest { min_price_cents: cents(2), max_price_cents: cents(1), ..request.clone() }, "max_price_cents");
    check(
        SearchRequest { price_bounds_cents: vec![Cents::new(2), Cents::new(2)], ..request.clone() },
        "price_bounds_cents",
    );
    check(SearchRequest { price_bounds_cents: vec![Cents::new(0)], ..request.clone() }, "price_bounds_cents");
    let many = (1..100).map(Cents::new).collect();
    check(SearchRequest { price_bounds_cents: many, ..request.clone() }, "price_bounds_cents");
    for cursor in ["", "x", "AAAA", "\0", &"A".repeat(1_000)] {
        check(SearchRequest { cursor: Some(cursor.to_owned()), ..request.clone() }, "cursor");
    }
}

pub(super) fn hostile_text(make: &Make<'_>) {
    let index = built(make, shelf());
    let everything = shelf().len();
    for q in [
        "",
        " ",
        "\t\r\n",
        "\0\u{1}\u{7f}",
        "!?.,;:",
        "\"",
        "\"手机",
        "'",
        "((",
        "))",
        "*",
        "?",
        "手机*",
        "*手机",
        "+",
        "-",
        "&&",
        "||",
        "AND",
        "OR NOT",
        "title:手机",
        "id:1",
        "_exists_:title",
        "*:*",
        "/.*/",
        "[1 TO 9]",
        "{\"match_all\":{}}",
        "手机^9",
        "手机~2",
        "\\",
        "\\\\\"",
        "<b>",
        "%",
        "_",
        "' OR 1=1 --",
        "|",
        "\u{feff}",
        "\u{202e}手机",
        "\u{fffd}",
        "👍",
        "★",
        "｜",
        "removed:true",
    ] {
        for sort in super::SORTS {
            let request = SearchRequest { sort, ..SearchRequest::new(q) };
            let page = page(index.as_ref(), &request);
            assert!(page.hits.len() < everything, "{q:?} finds everything");
        }
    }
    assert!(found(index.as_ref(), "*:*").is_empty());
    assert!(found(index.as_ref(), "|").is_empty(), "what is between texts is no word");
    let same = |q: &str| assert_eq!(found_by_id(index.as_ref(), q), found_by_id(index.as_ref(), "手机"), "{q:?}");
    ["手机*", "\"手机", "手机^9", "+手机", "手\u{200b}机", "(手机)"].into_iter().for_each(same);
    let long: String = "手机 华为 Mate60 ".repeat(16).chars().take(QUERY_CHARS_MAX).collect();
    assert_eq!(found(index.as_ref(), &long)[0], 1);
    let request = SearchRequest {
        sort: Sort::Newest,
        ..SearchRequest::new("a b c d e f g h i j k l m n o p q r s t u v w x y z 1 2 3 4 5 6 7 8 9")
    };
    page(index.as_ref(), &request);
}
