const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];

const two = (value: number): string => String(value).padStart(2, "0");

/**
 * Formats a local time as C's strftime does in the C locale. `%-d` drops leading zeros. Unknown
 * directives stay as they are.
 */
export function strftime(format: string, date: Date): string {
  return format.replace(/%(-?)([a-zA-Z%])/g, (found, dash: string, directive: string) => {
    const text = directiveOf(directive, date) ?? found;
    return dash && text !== found ? text.replace(/^0+(?=\d)/, "") : text;
  });
}

function directiveOf(directive: string, date: Date): string | undefined {
  switch (directive) {
    case "a":
      return DAYS[date.getDay()]!.slice(0, 3);
    case "A":
      return DAYS[date.getDay()];
    case "b":
    case "h":
      return MONTHS[date.getMonth()]!.slice(0, 3);
    case "B":
      return MONTHS[date.getMonth()];
    case "c":
      return strftime("%a %b %e %H:%M:%S %Y", date);
    case "d":
      return two(date.getDate());
    case "D":
    case "x":
      return strftime("%m/%d/%y", date);
    case "e":
      return String(date.getDate()).padStart(2);
    case "f":
      return `${String(date.getMilliseconds()).padStart(3, "0")}000`;
    case "F":
      return strftime("%Y-%m-%d", date);
    case "H":
      return two(date.getHours());
    case "I":
      return two(date.getHours() % 12 || 12);
    case "j":
      return String(dayOfYear(date)).padStart(3, "0");
    case "m":
      return two(date.getMonth() + 1);
    case "M":
      return two(date.getMinutes());
    case "n":
      return "\n";
    case "p":
      return date.getHours() < 12 ? "AM" : "PM";
    case "r":
      return strftime("%I:%M:%S %p", date);
    case "R":
      return strftime("%H:%M", date);
    case "s":
      return String(Math.floor(date.getTime() / 1000));
    case "S":
      return two(date.getSeconds());
    case "t":
      return "\t";
    case "T":
    case "X":
      return strftime("%H:%M:%S", date);
    case "u":
      return String(date.getDay() || 7);
    case "w":
      return String(date.getDay());
    case "y":
      return two(date.getFullYear() % 100);
    case "Y":
      return String(date.getFullYear());
    // The time that templates get carries no zone, as Python's datetime.now() does not.
    case "z":
    case "Z":
      return "";
    case "%":
      return "%";
    default:
      return undefined;
  }
}

function dayOfYear(date: Date): number {
  const midnight = Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
  return (midnight - Date.UTC(date.getFullYear(), 0, 0)) / 86_400_000;
}
