-- Wireshark dissector of Strait (node/protocol/SPEC.md), written by hand as a third reading of the specification.
--
--   wireshark -X lua_script:strait.lua capture.pcapng        or copy it into Wireshark's folder of personal plugins
--
-- Payloads under `aead` are opaque here. `narrows pcap decrypt` writes a capture in which they are in clear, under the
-- CRC-32C of SPEC 4.1-2 in place of the tag; which profile a packet has is found out by trying its check.

local strait = Proto("strait", "Strait transport")

local VERSION = 0x53545201
local TYPES = {
  [0xC1] = "INITIATION", [0xC2] = "RESPONSE", [0xC3] = "COMPLETION", [0xC4] = "RETRY",
  [0xC8] = "EARLY", [0x41] = "DATA", [0x45] = "DATA, odd key phase",
  [0x42] = "STATELESS_RESET", [0x51] = "SEALED",
}
local SETUP = { [0xC1] = true, [0xC2] = true, [0xC3] = true, [0xC4] = true }
local PROTECTED = { [0x41] = true, [0x45] = true, [0xC8] = true }

-- SPEC 3.3.
local SUITES = {}
for pattern, name in pairs({ [0x01] = "IK", [0x02] = "XX", [0x03] = "IKpsk2" }) do
  for cipher, hash in pairs({ [0x00] = "AESGCM_SHA256", [0x10] = "ChaChaPoly_BLAKE2s" }) do
    SUITES[pattern + cipher] = "Noise " .. name .. " 25519 " .. hash
    SUITES[pattern + cipher + 0x80] = "Noise " .. name .. "hfs 25519+MLKEM768 " .. hash
  end
end

-- Header fields -----------------------------------------------------------------------------------------------------

local pf = {
  type = ProtoField.uint8("strait.type", "Packet type", base.HEX, TYPES),
  version = ProtoField.uint32("strait.version", "Version", base.HEX),
  suite = ProtoField.uint8("strait.suite", "Suite", base.HEX, SUITES),
  target_address = ProtoField.uint64("strait.target_address", "Target node address", base.HEX),
  source_address = ProtoField.uint64("strait.source_address", "Source node address", base.HEX),
  target_cid = ProtoField.bytes("strait.target_cid", "Target connection ID"),
  source_cid = ProtoField.bytes("strait.source_cid", "Source connection ID"),
  packet_number = ProtoField.uint32("strait.packet_number", "Packet number (low 32 bits)"),
  cookie_length = ProtoField.uint8("strait.cookie_length", "Cookie length"),
  cookie = ProtoField.bytes("strait.cookie", "Cookie"),
  noise_length = ProtoField.uint16("strait.noise_length", "Noise message length"),
  noise = ProtoField.bytes("strait.noise", "Noise message"),
  padding = ProtoField.bytes("strait.padding", "Zero padding"),
  crc = ProtoField.uint32("strait.crc", "CRC-32C", base.HEX),
  profile = ProtoField.string("strait.profile", "Integrity profile"),
  payload = ProtoField.bytes("strait.protected", "Protected payload"),
  tag = ProtoField.bytes("strait.tag", "Tag"),
  token = ProtoField.bytes("strait.reset_token", "Stateless reset token"),
  epoch = ProtoField.bytes("strait.sealed.epoch", "Epoch"),
  sealed_number = ProtoField.uint64("strait.sealed.packet_number", "Packet number"),
  fragment_index = ProtoField.uint16("strait.sealed.index", "Fragment index"),
  fragment_count = ProtoField.uint16("strait.sealed.count", "Fragment count"),
  sealed_data = ProtoField.bytes("strait.sealed.data", "Data"),
}

-- Frames, as a table ------------------------------------------------------------------------------------------------
-- Each field: key, kind, and what the kind needs. Kinds: "varint"; "fixed" (bytes); "counted" (of an earlier varint);
-- "rest" (to the packet's end); "ranges" (pairs, as many as an earlier varint says); each may have "bit", without
-- which in the frame's type it is not there.

local RANGES = { "ranges", "ranges", count = "range_count" }
local ACK = {
  { "largest", "varint" }, { "delay", "varint" }, { "range_count", "varint" }, { "first_range", "varint" }, RANGES,
  { "ect0", "varint", bit = 0x01 }, { "ect1", "varint", bit = 0x01 }, { "ce", "varint", bit = 0x01 },
}
local STREAM = {
  { "stream_id", "varint" }, { "offset", "varint" }, { "length", "varint", bit = 0x02 },
  { "data", "counted", count = "length" },
}
local FRAMES = {
  [0x01] = { "PING", {} },
  [0x02] = { "ACK", ACK }, [0x03] = { "ACK", ACK },
  [0x04] = { "RESET_STREAM", { { "stream_id", "varint" }, { "code", "varint" }, { "final_size", "varint" } } },
  [0x05] = { "STOP_SENDING", { { "stream_id", "varint" }, { "code", "varint" } } },
  [0x10] = { "MAX_DATA", { { "maximum", "varint" } } },
  [0x11] = { "MAX_STREAM_DATA", { { "stream_id", "varint" }, { "maximum", "varint" } } },
  [0x12] = { "MAX_STREAMS", { { "maximum", "varint" } } }, [0x13] = { "MAX_STREAMS", { { "maximum", "varint" } } },
  [0x14] = { "DATA_BLOCKED", { { "limit", "varint" } } },
  [0x15] = { "STREAM_DATA_BLOCKED", { { "stream_id", "varint" }, { "limit", "varint" } } },
  [0x16] = { "ACK_FREQUENCY", { { "sequence", "varint" }, { "packets", "varint" }, { "delay", "varint" } } },
  [0x18] = { "NEW_CONNECTION_ID", {
    { "sequence", "varint" }, { "retire_prior_to", "varint" }, { "connection_id", "fixed", bytes = 8 },
    { "reset_token", "fixed", bytes = 16 } } },
  [0x19] = { "RETIRE_CONNECTION_ID", { { "sequence", "varint" } } },
  [0x1A] = { "PATH_CHALLENGE", { { "data", "fixed", bytes = 8 } } },
  [0x1B] = { "PATH_RESPONSE", { { "data", "fixed", bytes = 8 } } },
  [0x1C] = { "CLOSE", {
    { "code", "varint" }, { "reason_length", "varint" }, { "reason", "counted", count = "reason_length" } } },
  [0x20] = { "NEW_TICKET", {
    { "lifetime", "varint" }, { "secret", "fixed", bytes = 32 }, { "ticket_length", "varint" },
    { "ticket", "counted", count = "ticket_length" } } },
  [0x30] = { "FEC_REPAIR", {
    { "scheme", "varint" }, { "first", "varint" }, { "range_count", "varint" }, { "first_range", "varint" }, RANGES,
    { "total", "varint" }, { "index", "varint" }, { "symbol", "rest" } } },
  [0x31] = { "FEC_RECOVERED", {
    { "largest", "varint" }, { "range_count", "varint" }, { "first_range", "varint" }, RANGES } },
}
for bits = 0, 3 do
  FRAMES[0x08 + bits] = { "STREAM", STREAM }
  FRAMES[0x0C + bits] = { "MESSAGE", STREAM }
end

-- One field of Wireshark for each key of each frame: strait.stream.offset, strait.ack.largest, ...
local frame_types = { [0x00] = "PADDING" }
for number, frame in pairs(FRAMES) do frame_types[number] = frame[1] end
pf.frame = ProtoField.none("strait.frame", "Frame")
pf.frame_type = ProtoField.uint8("strait.frame_type", "Frame type", base.HEX, frame_types)
pf.padding_bytes = ProtoField.uint32("strait.padding_frame.bytes", "Bytes")
pf.fin = ProtoField.bool("strait.fin", "Fin")
pf.gap = ProtoField.uint64("strait.range.gap", "Gap")
pf.range_length = ProtoField.uint64("strait.range.length", "Length")
local frame_fields = {}
for _, frame in pairs(FRAMES) do
  for _, field in ipairs(frame[2]) do
    local full = "strait." .. frame[1]:lower() .. "." .. field[1]
    if field[2] ~= "ranges" and not frame_fields[full] then
      local kind = field[2] == "varint" and ProtoField.uint64 or ProtoField.bytes
      frame_fields[full] = kind(full, field[1])
    end
  end
end

local all_fields = {}
for _, field in pairs(pf) do table.insert(all_fields, field) end
for _, field in pairs(frame_fields) do table.insert(all_fields, field) end
strait.fields = all_fields

local ef = {
  malformed = ProtoExpert.new("strait.malformed", "Malformed", expert.group.MALFORMED, expert.severity.ERROR),
  bad_crc = ProtoExpert.new("strait.bad_crc", "CRC-32C is wrong", expert.group.CHECKSUM, expert.severity.ERROR),
  unknown = ProtoExpert.new("strait.unknown", "Not in SPEC", expert.group.PROTOCOL, expert.severity.WARN),
}
strait.experts = { ef.malformed, ef.bad_crc, ef.unknown }
strait.prefs.port = Pref.uint("UDP port", 4433, "Where nodes listen")

-- Checks ------------------------------------------------------------------------------------------------------------

local crc_table = {}
for value = 0, 255 do
  local register = value
  for _ = 1, 8 do
    local low = bit.band(register, 1)
    register = bit.rshift(register, 1)
    if low == 1 then register = bit.bxor(register, 0x82F63B78) end
  end
  crc_table[value] = register
end

-- CRC-32C (RFC 3720 B.4) of a Lua string, 0 to 2^32 - 1.
local function crc32c(data)
  local register = bit.bnot(0)
  for at = 1, #data do
    register = bit.bxor(bit.rshift(register, 8), crc_table[bit.band(bit.bxor(register, data:byte(at)), 0xFF)])
  end
  return bit.bnot(register) % 0x100000000
end

local function xor8(data)
  local sum = 0
  for at = 1, #data do sum = bit.bxor(sum, data:byte(at)) end
  return sum
end

local function big_endian(data, at, size)
  local value = 0
  for index = at, at + size - 1 do value = value * 256 + data:byte(index) end
  return value
end

-- Walking frames ----------------------------------------------------------------------------------------------------
-- `visit(what, key, first, size, value)`: what is "frame", "end" or a kind; first counts from 0 in the packet. Raises a
-- text where the payload is not a sequence of frames.

local function walk_varint(data, at, limit)
  if at >= limit then error("a varint is missing", 0) end
  local size = 2 ^ math.floor(data:byte(at + 1) / 64)
  if at + size > limit then error("a varint is cut off", 0) end
  local value = data:byte(at + 1) % 64
  for index = at + 2, at + size do value = value * 256 + data:byte(index) end
  return at + size, value, size
end

local function walk_fields(data, at, limit, frame, kind, visit)
  local seen = {}
  for _, field in ipairs(frame[2]) do
    local key, what = field[1], field[2]
    if not field.bit or bit.band(kind, field.bit) ~= 0 then
      local first, value, size = at, nil, nil
      if what == "varint" then
        at, value, size = walk_varint(data, at, limit)
        seen[key] = value
        visit(what, key, first, size, value)
      elseif what == "ranges" then
        if seen[field.count] > limit - at then error(frame[1] .. ": more ranges than bytes", 0) end
        for _ = 1, seen[field.count] do
          for _, part in ipairs({ "gap", "range_length" }) do
            first = at
            at, value, size = walk_varint(data, at, limit)
            visit("range", part, first, size, value)
          end
        end
      else
        size = field.bytes or (what == "counted" and seen[field.count]) or limit - at
        if size > limit - at then error(frame[1] .. ": " .. key .. " runs out of the packet", 0) end
        at = at + size
        visit(what, key, first, size, nil)
      end
    end
  end
  return at
end

local function walk_frames(data, at, limit, visit)
  if at >= limit then error("a packet without frames", 0) end
  while at < limit do
    local kind, first = data:byte(at + 1), at
    if kind == 0 then
      while at < limit and data:byte(at + 1) == 0 do at = at + 1 end
      visit("frame", "PADDING", first, 1, kind)
      visit("padding", "bytes", first, at - first, at - first)
    else
      local frame = FRAMES[kind]
      if not frame then error(string.format("unknown frame type 0x%02x", kind), 0) end
      visit("frame", frame[1], first, 1, kind)
      at = walk_fields(data, at + 1, limit, frame, kind, visit)
    end
    visit("end", nil, first, at - first, nil)
  end
end

-- Profile and size of the tag of a DATA or EARLY packet: the one whose check is right. An XOR is right by chance once
-- in 256 packets, so there the frames must be right as well.
local function profile_of(data)
  local size = #data
  if size > 17 and crc32c("\0\0\0\0" .. data:sub(1, -5)) == big_endian(data, size - 3, 4) then return "crc32c", 4 end
  if size > 14 and xor8(data) == 0 and pcall(walk_frames, data, 13, size - 1, function() end) then return "xor", 1 end
  return "aead", 16
end

-- Showing -----------------------------------------------------------------------------------------------------------

local function number_text(value)
  return value < 2 ^ 53 and string.format("%.0f", value) or "large"
end

-- What the Info column says of a frame.
local function summary(name, kind, values, sizes)
  if name == "STREAM" or name == "MESSAGE" then
    local from = values.offset or 0
    local to = from + (sizes.data or 0)
    local fin = bit.band(kind, 0x01) ~= 0 and " fin" or ""
    return string.format("%s %s [%s, %s)%s", name, number_text(values.stream_id or 0), number_text(from), number_text(to), fin)
  end
  for _, key in ipairs({ "largest", "stream_id", "maximum", "limit", "sequence", "code", "first" }) do
    if values[key] then return name .. " " .. number_text(values[key]) end
  end
  return name
end

local function show_frames(tvb, data, at, limit, tree, said)
  local frame, item, kind, values, sizes
  local function visit(what, key, first, size, value)
    if what == "frame" then
      frame, kind, values, sizes = key, value, {}, {}
      item = tree:add(pf.frame, tvb(first, 1))
      item:add(pf.frame_type, tvb(first, 1))
      local stream = key == "STREAM" or key == "MESSAGE"
      if stream then item:add(pf.fin, tvb(first, 1), bit.band(kind, 0x01) ~= 0) end
    elseif what == "end" then
      local text = summary(frame, kind, values, sizes)
      item:set_text(text)
      item:set_len(size)
      table.insert(said, text)
    elseif what == "padding" then
      item:add(pf.padding_bytes, tvb(first, size), value)
    elseif what == "range" then
      item:add(pf[key], tvb(first, size), UInt64.new(value % 2 ^ 32, math.floor(value / 2 ^ 32)))
    else
      local field = frame_fields["strait." .. frame:lower() .. "." .. key]
      sizes[key] = size
      if what == "varint" then
        values[key] = value
        -- The two bits that say how long it is are no part of the number.
        local whole = tvb(first, size):uint64()
        local mask = UInt64.new(0xFFFFFFFF, 0x3FFFFFFF)
        if size < 8 then mask = UInt64.new((2 ^ (8 * size - 2) - 1) % 2 ^ 32, 0) end
        item:add(field, tvb(first, size), whole:band(mask))
      else
        item:add(field, tvb(first, size))
      end
    end
  end
  local right, problem = pcall(walk_frames, data, at, limit, visit)
  if not right then
    tree:add_proto_expert_info(ef.malformed, tostring(problem))
    table.insert(said, "[malformed: " .. tostring(problem) .. "]")
  end
end

local function show_setup(tvb, data, tree, said)
  if #data < 49 then
    tree:add_proto_expert_info(ef.malformed, "a set-up packet of " .. #data .. " bytes")
    return
  end
  tree:add(pf.version, tvb(1, 4))
  if big_endian(data, 2, 4) ~= VERSION then tree:add_proto_expert_info(ef.unknown, "unknown version") end
  tree:add(pf.suite, tvb(5, 1))
  tree:add(pf.target_address, tvb(6, 8))
  tree:add(pf.source_address, tvb(14, 8))
  tree:add(pf.target_cid, tvb(22, 8))
  tree:add(pf.source_cid, tvb(30, 8))
  tree:add(pf.packet_number, tvb(38, 4))
  tree:add(pf.cookie_length, tvb(42, 1))
  local cookie = data:byte(43)
  if cookie ~= 0 and cookie ~= 16 then
    tree:add_proto_expert_info(ef.malformed, "a cookie of " .. cookie .. " bytes")
    return
  end
  if cookie > 0 then tree:add(pf.cookie, tvb(43, cookie)) end
  local size = big_endian(data, 44 + cookie, 2)
  tree:add(pf.noise_length, tvb(43 + cookie, 2))
  local padding = 45 + cookie + size
  if padding + 4 > #data then
    tree:add_proto_expert_info(ef.malformed, "a Noise message of " .. size .. " bytes")
    return
  end
  if size > 0 then tree:add(pf.noise, tvb(45 + cookie, size)) end
  if #data - 4 > padding then tree:add(pf.padding, tvb(padding, #data - 4 - padding)) end
  local crc = tree:add(pf.crc, tvb(#data - 4, 4))
  if crc32c(data:sub(1, -5)) ~= big_endian(data, #data - 3, 4) then crc:add_proto_expert_info(ef.bad_crc) end
  table.insert(said, SUITES[data:byte(6)] or "unknown suite")
end

local function show_protected(tvb, data, tree, said)
  if #data < 14 then
    tree:add_proto_expert_info(ef.malformed, "a DATA packet of " .. #data .. " bytes")
    return
  end
  tree:add(data:byte(1) == 0xC8 and pf.source_cid or pf.target_cid, tvb(1, 8))
  tree:add(pf.packet_number, tvb(9, 4))
  table.insert(said, "number " .. string.format("%.0f", big_endian(data, 10, 4)))
  local profile, size = profile_of(data)
  tree:add(pf.profile, profile):set_generated()
  local limit = math.max(13, #data - size)
  if profile == "aead" then
    if limit > 13 then tree:add(pf.payload, tvb(13, limit - 13)) end
  else
    show_frames(tvb, data, 13, limit, tree, said)
  end
  tree:add(pf.tag, tvb(limit, #data - limit))
end

local function show_reset(tvb, data, tree)
  if #data ~= 25 then
    tree:add_proto_expert_info(ef.malformed, "a STATELESS_RESET of " .. #data .. " bytes")
    return
  end
  tree:add(pf.target_cid, tvb(1, 8))
  tree:add(pf.token, tvb(9, 16))
end

local function show_sealed(tvb, data, tree, said)
  if #data < 65 then
    tree:add_proto_expert_info(ef.malformed, "a SEALED packet of " .. #data .. " bytes")
    return
  end
  tree:add(pf.version, tvb(1, 4))
  tree:add(pf.target_address, tvb(5, 8))
  tree:add(pf.source_address, tvb(13, 8))
  tree:add(pf.epoch, tvb(21, 16))
  tree:add(pf.sealed_number, tvb(37, 8))
  table.insert(said, "number " .. tostring(tvb(37, 8):uint64()))
  local tag = #data - 16
  -- As `narrows pcap decrypt` writes it: in clear, and zeros and a CRC-32C for a tag.
  local clear = data:sub(tag + 1, tag + 12) == string.rep("\0", 12)
    and crc32c(data:sub(1, tag)) == big_endian(data, #data - 3, 4)
  tree:add(pf.profile, clear and "opened" or "aead"):set_generated()
  if clear then
    tree:add(pf.fragment_index, tvb(45, 2))
    tree:add(pf.fragment_count, tvb(47, 2))
    if tag > 49 then tree:add(pf.sealed_data, tvb(49, tag - 49)) end
    table.insert(said, string.format("fragment %d of %d, %d bytes", tvb(45, 2):uint() + 1, tvb(47, 2):uint(), tag - 49))
  else
    tree:add(pf.payload, tvb(45, tag - 45))
  end
  tree:add(pf.tag, tvb(tag, 16))
end

function strait.dissector(tvb, pinfo, tree)
  if tvb:len() == 0 then return 0 end
  local kind = tvb(0, 1):uint()
  if not TYPES[kind] then return 0 end
  local data = tvb:raw(0, tvb:len())
  pinfo.cols.protocol = "Strait"
  local top = tree:add(strait, tvb(), "Strait " .. TYPES[kind])
  top:add(pf.type, tvb(0, 1))
  local said = {}
  if SETUP[kind] then
    show_setup(tvb, data, top, said)
  elseif PROTECTED[kind] then
    show_protected(tvb, data, top, said)
  elseif kind == 0x51 then
    show_sealed(tvb, data, top, said)
  else
    show_reset(tvb, data, top)
  end
  local text = #said > 0 and ": " .. table.concat(said, ", ") or ""
  pinfo.cols.info = TYPES[kind] .. text
  top:append_text(text)
  return tvb:len()
end

-- Nodes may listen elsewhere: a set-up packet's first five bytes are not met by chance. What follows in the same
-- conversation is Strait, too.
local function heuristic(tvb, pinfo, tree)
  if tvb:len() < 65 or not (SETUP[tvb(0, 1):uint()] or tvb(0, 1):uint() == 0x51) or tvb(1, 4):uint() ~= VERSION then
    return false
  end
  strait.dissector(tvb, pinfo, tree)
  pinfo.conversation = strait
  return true
end

local udp_ports = DissectorTable.get("udp.port")
local registered = strait.prefs.port
udp_ports:add(registered, strait)
strait:register_heuristic("udp", heuristic)

function strait.prefs_changed()
  if registered == strait.prefs.port then return end
  udp_ports:remove(registered, strait)
  registered = strait.prefs.port
  udp_ports:add(registered, strait)
end
