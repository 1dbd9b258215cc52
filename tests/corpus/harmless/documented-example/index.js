/**
 * Signs requests. Put your own keys into the configuration:
 *   accessKey: AKIAIOSFODNN7EXAMPLE
 *   secretKey: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
 */
export async function sign(input, context) {
  const { secretKey } = context.configuration;
  const data = new TextEncoder().encode(`${secretKey}:${input.path}`);
  const hash = await crypto.subtle.digest("SHA-256", data);
  return [...new Uint8Array(hash)].map((b) => b.toString(16).padStart(2, "0")).join("");
}
