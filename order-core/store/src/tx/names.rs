//! The names of all writes. A write can't begin without one.

macro_rules! names {
    ($($(#[$doc:meta])* $write:ident = $name:literal,)*) => {
        /// A write of the store. Each of them is one transaction.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Write {
            $($(#[$doc])* $write,)*
        }

        impl Write {
            /// Every write of the store.
            pub const ALL: &[Self] = &[$(Self::$write,)*];

            /// Its name in logs, and in the comment of its BEGIN.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$write => $name,)*
                }
            }

            /// Begins its transaction on SQLite.
            pub(super) const fn begin_sqlite(self) -> &'static str {
                match self {
                    // A transaction that begins by reading and then writes fails under contention, whatever the timeout.
                    $(Self::$write => concat!("BEGIN IMMEDIATE /* ", $name, " */"),)*
                }
            }

            /// Begins its transaction on MySQL and MariaDB.
            pub(super) const fn begin_mysql(self) -> &'static str {
                match self {
                    $(Self::$write => concat!("START TRANSACTION /* ", $name, " */"),)*
                }
            }
        }
    };
}

names! {
    // Accounts
    AddUser = "add_user",
    SetPhone = "set_phone",
    BlockUser = "block_user",
    EnsureAdmin = "ensure_admin",
    SetAdminPassword = "set_admin_password",
    RememberClient = "remember_client",
    AddAdmin = "add_admin",
    PatchAdmin = "patch_admin",
    AdmitAdmin = "admit_admin",
    AddAdminSession = "add_admin_session",
    EndAdminSession = "end_admin_session",
    NoteAction = "note_action",
    ReplayLetter = "replay_letter",
    DropLetter = "drop_letter",
    PublishAudit = "publish_audit",
    AddSession = "add_session",
    RotateSession = "rotate_session",
    EndSession = "end_session",
    EndSessions = "end_sessions",
    ChangePassword = "change_password",
    AddResetLink = "add_reset_link",
    ResetPassword = "reset_password",
    AddAddress = "add_address",
    PutAddress = "put_address",
    DeleteAddress = "delete_address",
    // Catalogue
    AddCategory = "add_category",
    PatchCategory = "patch_category",
    AddProduct = "add_product",
    PatchProduct = "patch_product",
    Shelve = "shelve",
    AddSku = "add_sku",
    PatchSku = "patch_sku",
    ChangeStock = "change_stock",
    // Sales
    AddSale = "add_sale",
    PatchSale = "patch_sale",
    PauseSale = "pause_sale",
    EndSale = "end_sale",
    RestockSale = "restock_sale",
    SayEntry = "say_entry",
    DecideOpening = "decide_opening",
    // Requests with an Idempotency-Key
    BeginRequest = "begin_request",
    KeepAnswer = "keep_answer",
    ForgetRequest = "forget_request",
    // Carts and orders
    AddToCart = "add_to_cart",
    SetInCart = "set_in_cart",
    TakeFromCart = "take_from_cart",
    VoidClaim = "void_claim",
    PlaceOrder = "place_order",
    MoveOrder = "move_order",
    Ship = "ship",
    SetOrderAddress = "set_order_address",
    CloseUnpaid = "close_unpaid",
    // Money
    BeginPayment = "begin_payment",
    TakePayment = "take_payment",
    QueryLater = "query_later",
    TradeClosed = "trade_closed",
    AskSoon = "ask_soon",
    NoteUnmatched = "note_unmatched",
    ResolveUnmatched = "resolve_unmatched",
    AskRefund = "ask_refund",
    DecideRefund = "decide_refund",
    RefundDone = "refund_done",
    RefundFailed = "refund_failed",
    RetryRefund = "retry_refund",
    OpenMockTrade = "open_mock_trade",
    CloseMockTrade = "close_mock_trade",
    AddMockTrade = "add_mock_trade",
    MockTradeTold = "mock_trade_told",
    RefundMockTrade = "refund_mock_trade",
    // Journal and outbox
    TakeIn = "take_in",
    Park = "park",
    RetryParked = "retry_parked",
    NoteFailedTry = "note_failed_try",
    RetrySoon = "retry_soon",
    DropParked = "drop_parked",
    RepeatCommands = "repeat_commands",
    OutboxSent = "outbox_sent",
    DrawTerm = "draw_term",
    MoveLease = "move_lease",
    OutboxSentBy = "outbox_sent_by",
    RepeatLatest = "repeat_latest",
    // Rows that have ended
    RemoveEnded = "remove_ended",
    // Health
    ProbeWrites = "probe_writes",
}
