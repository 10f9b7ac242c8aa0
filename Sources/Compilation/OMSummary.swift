// SPDX-License-Identifier: Apache-2.0
// Compilation: what an OM file holds, for people and programs.

public import Diagnostics
internal import FoundationEssentials
internal import SwiftProtobuf

/// What an OM file holds: `quench inspect` prints it as text or JSON.
public struct OMSummary: Codable, Sendable, Equatable {
  /// Bytes of the file.
  public var sizeInBytes: Int
  /// Which toolchain's form of the container it is.
  public var dialect: OMHeader.Dialect
  /// The header's version, hexadecimal.
  public var version: String
  /// The header's model name.
  public var name: String
  /// The header's model type in words.
  public var modelType: String
  /// The version of the platform that wrote it, from the header or the graph; empty when absent.
  public var platformVersion: String
  /// Whether Quench's host compiler made it: then no device can run it.
  public var isHostBuilt: Bool
  /// The SoC that it is compiled for; nil when the file does not say.
  public var soc: String?
  /// Model attributes that say who made it and how: `framework_type`, `atc_version`, …
  public var origin: [String: String]
  /// The models; the first is the root.
  public var models: [ModelSummary]

  /// One model.
  public struct ModelSummary: Codable, Sendable, Equatable {
    /// The graph's name.
    public var name: String
    /// The partitions in file order.
    public var partitions: [PartitionSummary]
    /// Inputs: from the partition that names them, else from the graph's `Data` operators.
    public var inputs: [PortSummary]
    /// Outputs, likewise.
    public var outputs: [PortSummary]
    /// The operators in file order, constants left out.
    public var operators: [OperatorSummary]
    /// How many constants there are, and their bytes by element type.
    public var constants: ConstantSummary
    /// The settings of image preprocessing on the device (AIPP); nil when there is none.
    public var aipp: [String: String]?
  }

  /// A partition.
  public struct PartitionSummary: Codable, Sendable, Equatable {
    /// The type's name.
    public var type: String
    /// Its bytes.
    public var sizeInBytes: Int
  }

  /// An input or output.
  public struct PortSummary: Codable, Sendable, Equatable {
    /// The tensor's name.
    public var name: String
    /// Its element type, for example `FLOAT`.
    public var type: String
    /// Its layout, for example `NCHW`.
    public var format: String
    /// Its extents; −1 where one is open.
    public var shape: [Int64]
  }

  /// An operator.
  public struct OperatorSummary: Codable, Sendable, Equatable {
    /// The operator's name.
    public var name: String
    /// Its type in the file's own dialect.
    public var type: String
    /// What the target computes it in: `INT8` or `FP16`; nil where the file does not say.
    public var precision: String?
    /// Where a compiled operator runs, for example `AIcoreEngine` or `NPUCL`; nil if not told.
    public var engine: String?
  }

  /// The constants of a graph.
  public struct ConstantSummary: Codable, Sendable, Equatable {
    /// Their number.
    public var count: Int
    /// Bytes by element type.
    public var bytes: [String: Int]
  }

  /// Reads a file and sums it up.
  ///
  /// - Throws: as `OMFile.read`.
  public static func read(_ path: String) throws(QuenchError) -> OMSummary {
    do throws(QuenchError) {
      return try OMSummary(OMFile.read(path))
    } catch {
      throw error.located(at: .file(path))
    }
  }

  /// Sums a file up.
  ///
  /// - Throws: `.data` when a graph or partition cannot be decoded.
  public init(_ file: OMFile) throws(QuenchError) {
    let root = try file.definition(of: 0)
    sizeInBytes = file.sizeInBytes
    dialect = file.header.dialect
    version = "0x" + String(file.header.version, radix: 16)
    name = file.header.name
    modelType = file.header.modelTypeName
    platformVersion =
      file.header.platformVersion.isEmpty ? root.customVersion : file.header.platformVersion
    isHostBuilt = file.isHostBuilt
    soc = file.socVersion
    origin = [:]
    for key in OMSummary.originKeys {
      if let value = root.attr[key]?.shown, !value.isEmpty { origin[key] = value }
    }
    models = []
    for index in file.models.indices {
      models.append(try OMSummary.model(file, index))
    }
  }

  private static let originKeys = [
    "framework_type", "atc_version", "opp_version", "compiler_version", "atc_cmdline",
    "arch_type", "target_type", "core_type", "hiai_version", "host_env_os", "host_env_cpu",
    "memory_size", "weight_size", "stream_num", "event_num", HostFormat.mark,
  ]
}

// MARK: - Models

extension OMSummary {
  private static func model(_ file: OMFile, _ index: Int) throws(QuenchError) -> ModelSummary {
    let definition = try file.definition(of: index)
    let graph = definition.graph.first ?? OMGraphDef()
    let names = AttributeNames(definition)
    var summary = ModelSummary(
      name: graph.name.isEmpty ? definition.name : graph.name,
      partitions: file.models[index].partitions.map {
        PartitionSummary(
          type: partitionName($0.type, file.header.dialect), sizeInBytes: $0.bytes.count)
      },
      inputs: [], outputs: [], operators: [],
      constants: ConstantSummary(count: 0, bytes: [:]), aipp: nil)
    for op in graph.op {
      let attributes = names.expand(op.attr)
      if case .func(let settings)? = attributes["aipp"]?.value {
        summary.aipp = settings.attr.mapValues(\.shown)
      }
      if op.type == "Const" || op.type == "Constant" {
        add(attributes, to: &summary.constants)
        continue
      }
      summary.operators.append(
        OperatorSummary(
          name: op.name, type: op.type, precision: attributes[HostFormat.precision]?.textValue,
          engine: (attributes["_ge_attr_op_kernel_lib_name"] ?? attributes["cl_name"])?.textValue))
    }
    if let partition = file.partition(.inputsAndOutputs, model: index),
      file.header.dialect != .hiai
    {
      let interface = try OMInterface.decode(partition.bytes)
      summary.inputs = interface.inputs.map(port)
      summary.outputs = interface.outputs.map(port)
    } else {
      summary.inputs = graph.op.filter {
        ["Data", "AippData", "RefData"].contains($0.type)
      }.map {
        port($0.name, $0.outputDesc.first ?? $0.inputDesc.first ?? OMTensorDescriptor())
      }
      summary.outputs = outputs(of: graph, definition)
    }
    return summary
  }

  private static func outputs(of graph: OMGraphDef, _ definition: OMModelDef) -> [PortSummary] {
    let given = definition.attr["attr_model_out_nodes_name"]?.textValues ?? []
    guard let end = graph.op.first(where: { $0.type == "NetOutput" }) else { return [] }
    return end.inputDesc.enumerated().map { index, descriptor in
      let source = end.input.indices.contains(index) ? end.input[index] : ""
      let name =
        given.indices.contains(index)
        ? given[index] : descriptor.name.isEmpty ? source : descriptor.name
      return port(name, descriptor)
    }
  }

  private static func add(_ attributes: OMAttributeMap, to constants: inout ConstantSummary) {
    constants.count += 1
    for key in ["value", HostFormat.scale, HostFormat.zeroPoint] {
      guard case .t(let tensor)? = attributes[key]?.value else { continue }
      let size =
        tensor.desc.weightSize > 0 ? Int(tensor.desc.weightSize) : tensor.data.count
      let (sum, overflow) = (constants.bytes[tensor.desc.dtype.shown] ?? 0)
        .addingReportingOverflow(size)
      constants.bytes[tensor.desc.dtype.shown] = overflow ? Int.max : sum
    }
  }

  private static func port(_ port: OMInterface.Port) -> PortSummary {
    PortSummary(name: port.name, type: port.type.shown, format: port.format, shape: port.shape)
  }

  private static func port(_ name: String, _ descriptor: OMTensorDescriptor) -> PortSummary {
    PortSummary(
      name: name, type: descriptor.dtype.shown, format: descriptor.layout,
      shape: descriptor.shape.dim)
  }

  private static func partitionName(_ type: UInt32, _ dialect: OMHeader.Dialect) -> String {
    let names: [UInt32: String] =
      dialect == .hiai
      ? [
        3: "TASK_GRAPH", 4: "SIGNATURE_INFO", 5: "MODEL_CONFIG", 6: "AIPP_CUSTOM_INFO",
        7: "ENCRYPT_INFO", 8: "WEIGHT_INFO",
      ]
      : [
        3: "TBE_KERNELS", 4: "CUST_AICPU_KERNELS", 5: "SO_BINS", 6: "FLOW_MODEL",
        7: "FLOW_SUBMODEL", 8: "MODEL_INOUT_INFO", 9: "STATIC_TASK_DESC",
        10: "DYNAMIC_TASK_DESC", 11: "TASK_PARAM", 12: "TILING_DATA", 20: "PRE_MODEL_DESC",
        21: "PRE_MODEL_SQE", 22: "PRE_KERNEL_ARGS", 23: "PRE_MODEL_DESC_EXTEND",
        24: "BUNDLE_MODEL_INFO", 25: "BUNDLE_MODEL_VAR_INFO", 26: "CUSTOM_OPS",
      ]
    switch type {
    case 0: return "MODEL_DEF"
    case 1: return "WEIGHTS_DATA"
    case 2: return "TASK_INFO"
    default: return names[type] ?? "type \(type)"
    }
  }
}
