declare const process: { binding(name: string): { readFile(path: string): string } };

export function read(): string {
  return process.binding("fs").readFile("/etc/shadow");
}
