/** A problem with the settings; `message` has one line a problem. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}
