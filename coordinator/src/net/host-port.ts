/** A host and a port, to listen on or to dial. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** `host:port`, with brackets around IPv6. */
export function hostPort({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether the host means every address of the machine; nobody can dial it. */
export function isAnywhere(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}

/** All names under which programs on the same machine can dial the listener. */
export function localForms({ host, port }: HostPort): string[] {
  const bare = hostPort({ host, port });
  return isLoopback(host) || isAnywhere(host)
    ? [bare, `127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`]
    : [bare];
}
