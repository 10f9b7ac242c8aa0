// SPDX-License-Identifier: Apache-2.0

import QuenchCLI

@main
struct Main {
  static func main() { Quench.main() }
}
