import { writeFileSync } from "node:fs";
import { gasPage, measureGas } from "../tests/support/gas.ts";

writeFileSync(new URL("../docs/gas.md", import.meta.url), gasPage(await measureGas()));
