-- What Lua programs are made of: tables, closures, strings, metatables, floating point. usage: mix.lua TURNS
local seed
local function number() seed = (seed * 1103515245 + 12345) & 0x7fffffff return seed >> 8 end

local Vector = {}
Vector.__index = Vector
Vector.__add = function(a, b) return setmetatable({ x = a.x + b.x, y = a.y + b.y }, Vector) end
function Vector:length() return self.x * self.x + self.y * self.y end

local function vectors()
    local sum = setmetatable({ x = 0.0, y = 0.0 }, Vector)
    for i = 1, 4000 do sum = sum + setmetatable({ x = i % 7 / 2, y = number() % 5 }, Vector) end
    return math.floor(sum:length())
end

local function strings()
    local parts, count = {}, {}
    for i = 1, 2500 do parts[#parts + 1] = string.format("k%x=%d", number() % 300, i) end
    for key, value in table.concat(parts, ";"):gmatch("(%w+)=(%d+)") do count[key] = (count[key] or 0) + #value end
    local keys = {}
    for key in pairs(count) do keys[#keys + 1] = key end
    table.sort(keys)
    local sum = 0
    for i, key in ipairs(keys) do sum = sum + i * count[key] end
    return sum
end

local function life()
    local w, cells = 40, {}
    for i = 1, w * w do cells[i] = number() % 3 == 0 and 1 or 0 end
    for _ = 1, 4 do
        local after = {}
        for i = 1, w * w do
            local n = 0
            for _, d in ipairs { -w - 1, -w, -w + 1, -1, 1, w - 1, w, w + 1 } do n = n + (cells[i + d] or 0) end
            after[i] = (n == 3 or (n == 2 and cells[i] == 1)) and 1 or 0
        end
        cells = after
    end
    local alive = 0
    for i = 1, w * w do alive = alive + cells[i] * i end
    return alive
end

local function compose(n)
    local f = function(x) return x end
    for i = 1, n do local g = f f = function(x) return g(x) + i % 3 end end
    return f(0)
end

local check = 0
for turn = 1, tonumber(arg[1]) do
    seed = turn
    check = (check * 31 + vectors() + strings() + life() + compose(100)) % 1000000007
end
print(check)
