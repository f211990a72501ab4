/** Scheme, host and port that a sign-in message names. The build sets it. */
declare const SIGN_IN_ORIGIN: string;
