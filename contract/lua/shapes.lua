-- What is kept of most orders is short, because most are of one unit: writing is what a reservation costs.

-- An order: user:units:state (h held, s sold, r released), or the user alone, who holds one unit.
local function read_hold(text)
    local user, units, state = string.match(text, '^(%d+):(%d+):(%a)$')
    if user then return user, tonumber(units), state end
    return text, 1, 'h'
end

-- What a user has, held and sold: units:latest order, or the order alone, of one unit.
local function read_share(text)
    local units, latest = string.match(text, '^(%d+):(%d+)$')
    if units then return tonumber(units), latest end
    return 1, text
end

local function share(units, latest)
    if units == 1 then return latest end
    return string.format('%.0f', units) .. ':' .. latest
end

