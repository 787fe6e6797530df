/** Hardware as GET /1.0/resources shows it. */
export async function resources(): Promise<Record<string, unknown>> {
  return {};
}
