/** Scheme, host and port that a signed sign-in message names; set by the build. */
declare const SIGN_IN_ORIGIN: string;
