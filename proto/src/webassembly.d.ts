// The part of the WebAssembly API that the kernel uses: browsers and Node have it, but only TypeScript's DOM library
// declares it, and that would let code for Node use a browser's globals.
declare namespace WebAssembly {
  class Module {
    constructor(bytes: Uint8Array);
  }
  class Instance {
    constructor(module: Module);
    readonly exports: unknown;
  }
  interface Memory {
    readonly buffer: ArrayBuffer;
    grow(pages: number): number;
  }
}
