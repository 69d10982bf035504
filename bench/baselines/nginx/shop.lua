-- One EVALSHA a request over connections that are kept: the script is the one of the axum baseline.
local redis = require "nginx.redis"

local shop = {}

local BUY = [[local had = redis.call('HGET', KEYS[2], ARGV[1])
if had then return had end
if tonumber(redis.call('GET', KEYS[1]) or '0') < 1 then return '' end
redis.call('DECR', KEYS[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('XADD', KEYS[3], '*', 'user', ARGV[1], 'order', ARGV[2])
return ARGV[2] ]]
local sha
local next_id = 0

local function answer(status, body)
    ngx.status = status
    ngx.header["Content-Length"] = #body
    ngx.print(body)
end

local function refuse(status, code)
    answer(status, '{"status":' .. status .. ',"code":"' .. code .. '"}')
end

local function connect()
    local client = redis:new()
    client:set_timeouts(1000, 5000, 5000)
    local ok = client:connect("127.0.0.1", shop.redis_port)
    return ok and client
end

local function done(client)
    client:set_keepalive(60000, 512)
end

-- The subject of the bearer token.
local function user()
    local header = ngx.var.http_authorization
    local payload = header and string.match(header, "^Bearer [^.]+%.([^.]+)%.")
    if not payload then return nil end
    payload = payload:gsub("-", "+"):gsub("_", "/")
    local json = ngx.decode_base64(payload .. string.rep("=", -#payload % 4))
    return json and string.match(json, '"sub":"(%d+)"')
end

local function order_id()
    next_id = next_id + 1
    -- As text: a number of Lua has 53 bits.
    return string.format("%d%06d", ngx.now() * 1000, next_id % 1000000)
end

function shop.create()
    ngx.req.read_body()
    local body = ngx.req.get_body_data() or ""
    local activity, stock = string.match(body, '"activity_id":(%d+)'), string.match(body, '"stock":(%d+)')
    local client = connect()
    if not (activity and stock and client) then return refuse(503, "unavailable") end
    client:set("current", activity)
    client:set("stock:" .. activity, stock)
    done(client)
    answer(201, "{}")
end

function shop.buy()
    local buyer = user()
    if not buyer then return refuse(401, "invalid_token") end
    ngx.req.read_body()
    local body = ngx.req.get_body_data() or ""
    local activity, quantity = string.match(body, '"activity_id":"(%d+)"'), string.match(body, '"quantity":(%d+)')
    if not activity or quantity ~= "1" then return refuse(422, "invalid_request") end
    local client = connect()
    if not client then return refuse(503, "unavailable") end
    local keys = { "stock:" .. activity, "orders:" .. activity, "outbox:" .. activity }
    local granted, fault
    if sha then granted, fault = client:evalsha(sha, 3, keys[1], keys[2], keys[3], buyer, order_id()) end
    if not sha or (fault and string.find(fault, "NOSCRIPT", 1, true)) then
        sha, fault = client:script("load", BUY)
        if sha then granted, fault = client:evalsha(sha, 3, keys[1], keys[2], keys[3], buyer, order_id()) end
    end
    if not granted then
        client:close()
        return refuse(503, "unavailable")
    end
    done(client)
    if granted == "" then return refuse(409, "sold_out") end
    answer(202, '{"order_id":"' .. granted .. '","activity_id":"' .. activity .. '","quantity":1,"status":"queued"}')
end

function shop.find()
    local buyer = user()
    local client = connect()
    if not (buyer and client) then return refuse(503, "unavailable") end
    local order = string.match(ngx.var.uri, "(%d+)$")
    local found = client:hget("orders:" .. tostring(client:get("current")), buyer)
    done(client)
    if not order or found ~= order then return refuse(404, "not_found") end
    answer(200, '{"order_id":"' .. order .. '","status":"pending_payment"}')
end

return shop
