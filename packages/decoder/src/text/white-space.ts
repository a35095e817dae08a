/**
 * Unicode's White_Space, by code unit (all lie in the basic plane). JavaScript's own `trim` and
 * `\s` differ: they take U+FEFF and leave U+0085.
 */
export function isWhiteSpace(unit: number): boolean {
  if (unit < 0x80) return unit === 0x20 || (unit >= 0x09 && unit <= 0x0d);
  return (
    unit === 0x85 ||
    unit === 0xa0 ||
    unit === 0x1680 ||
    (unit >= 0x2000 && unit <= 0x200a) ||
    unit === 0x2028 ||
    unit === 0x2029 ||
    unit === 0x202f ||
    unit === 0x205f ||
    unit === 0x3000
  );
}

/** How many code units of white space `text` starts with. */
export function leadingSpace(text: string, isSpace = isWhiteSpace): number {
  let end = 0;
  while (end < text.length && isSpace(text.charCodeAt(end))) end++;
  return end;
}

/** Where the white space that ends `text` begins; 0 when there is nothing else. */
export function trailingSpace(text: string, isSpace = isWhiteSpace): number {
  let start = text.length;
  while (start > 0 && isSpace(text.charCodeAt(start - 1))) start--;
  return start;
}
