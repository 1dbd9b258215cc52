const EXP = new Uint8Array(512);
const LOG = new Uint8Array(256);
for (let i = 0, x = 1; i < 255; i++) {
  EXP[i] = x;
  LOG[x] = i;
  x = (x << 1) ^ (x & 0x80 ? 0x11d : 0);
}
for (let i = 255; i < 512; i++) EXP[i] = EXP[i - 255];

export function checksum(input) {
  const data = new TextEncoder().encode(input.text);
  const out = new Uint8Array(10);
  for (const byte of data) {
    const factor = byte ^ out[0];
    out.copyWithin(0, 1);
    out[9] = 0;
    if (factor) for (let i = 0; i < 10; i++) out[i] ^= EXP[(LOG[factor] + i * 17) % 255];
  }
  return [...out];
}
