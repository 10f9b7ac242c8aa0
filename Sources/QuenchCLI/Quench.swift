// SPDX-License-Identifier: Apache-2.0

/// The command line.
public enum Quench {
  /// Runs the process's arguments.
  public static func main() {}
}
