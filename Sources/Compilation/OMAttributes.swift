// SPDX-License-Identifier: Apache-2.0
// Compilation: attributes of graphs, operators and tensors, made and read.

internal import FoundationEssentials
internal import SwiftProtobuf

typealias OMAttributeMap = [String: OMAttrDef]

extension OMAttrDef {
  static func text(_ value: String) -> OMAttrDef { .with { $0.s = Data(value.utf8) } }
  static func integer(_ value: Int64) -> OMAttrDef { .with { $0.i = value } }
  static func float(_ value: Float) -> OMAttrDef { .with { $0.f = value } }
  static func flag(_ value: Bool) -> OMAttrDef { .with { $0.b = value } }
  static func tensor(_ value: OMTensorDef) -> OMAttrDef { .with { $0.t = value } }

  /// The numbers of `val_type`, which tell what an empty list holds.
  enum ListType: Int32 {
    case string = 1
    case integer = 2
    case float = 3
    case tensor = 7
  }

  static func texts(_ values: [String]) -> OMAttrDef {
    list(.string) { $0.s = values.map { Data($0.utf8) } }
  }
  static func integers(_ values: [Int64]) -> OMAttrDef { list(.integer) { $0.i = values } }
  static func floats(_ values: [Float]) -> OMAttrDef { list(.float) { $0.f = values } }

  private static func list(_ type: ListType, _ fill: (inout ListValue) -> Void) -> OMAttrDef {
    var list = ListValue()
    list.valType = type.rawValue
    fill(&list)
    return .with { $0.list = list }
  }

  /// The value as text, where it is one.
  var textValue: String? {
    guard case .s(let data)? = value else { return nil }
    return String(decoding: data, as: UTF8.self)
  }

  /// The value as an integer, where it is one.
  var integerValue: Int64? {
    guard case .i(let number)? = value else { return nil }
    return number
  }

  /// The list of texts, where it is one.
  var textValues: [String]? {
    guard case .list(let list)? = value else { return nil }
    return list.s.map { String(decoding: $0, as: UTF8.self) }
  }

  /// The value in words, short: for summaries.
  var shown: String {
    switch value {
    case nil: ""
    case .s(let data)?: String(decoding: data, as: UTF8.self)
    case .i(let number)?: "\(number)"
    case .f(let number)?: "\(number)"
    case .b(let flag)?: "\(flag)"
    case .bt(let data)?: "\(data.count) bytes"
    case .dt(let type)?: "type \(type)"
    case .t(let tensor)?: "tensor \(tensor.desc.shape.dim)"
    case .td?: "tensor descriptor"
    case .func(let named)?: "\(named.attr.count) attributes"
    case .g(let graph)?: "graph \"\(graph.name)\""
    case .listListInt(let lists)?: "\(lists.listListI.map(\.listI))"
    case .list(let list)?:
      if !list.s.isEmpty {
        "\(list.s.map { String(decoding: $0, as: UTF8.self) })"
      } else if !list.f.isEmpty {
        "\(list.f)"
      } else if !list.b.isEmpty {
        "\(list.b)"
      } else {
        "\(list.i)"
      }
    }
  }
}

/// The attribute names that new versions of `atc` replace by numbers.
///
/// A shortened name is a NUL followed by the index in base 127, least significant digit first, each
/// digit plus one; values that were strings become indices too where the table says so.
/// Source: `model_compress_manager` of CANN's graph engine.
struct AttributeNames {
  private let names: [String]
  private let values: [String]
  private let usesValue: [Bool]

  init(_ model: OMModelDef) {
    guard model.attr["om_compress_version"] != nil else {
      (names, values, usesValue) = ([], [], [])
      return
    }
    names = model.attr["attr_name_enum"]?.textValues ?? []
    values = model.attr["attr_value_enum"]?.textValues ?? []
    if case .list(let list)? = model.attr["attrs_use_string_value"]?.value {
      usesValue = list.b.isEmpty ? list.i.map { $0 != 0 } : list.b
    } else {
      usesValue = []
    }
  }

  /// The attributes under their full names.
  func expand(_ attributes: OMAttributeMap) -> OMAttributeMap {
    guard !names.isEmpty else { return attributes }
    var result: OMAttributeMap = [:]
    for (key, value) in attributes {
      guard let index = index(of: key), names.indices.contains(index) else {
        result[key] = value
        continue
      }
      let isText = usesValue.indices.contains(index) && usesValue[index]
      result[names[index]] = isText ? expand(value) : value
    }
    return result
  }

  private func expand(_ attribute: OMAttrDef) -> OMAttrDef {
    func text(_ index: Int64) -> String? {
      Int(exactly: index).flatMap { values.indices.contains($0) ? values[$0] : nil }
    }
    switch attribute.value {
    case .i(let index)?: return text(index).map(OMAttrDef.text) ?? attribute
    case .list(let list)? where !list.i.isEmpty:
      return .texts(list.i.map { text($0) ?? "\($0)" })
    default: return attribute
    }
  }

  private func index(of key: String) -> Int? {
    let bytes = Array(key.utf8)
    guard bytes.first == 0, bytes.count > 1, bytes.count <= 5 else { return nil }
    var index = 0
    for digit in bytes.dropFirst().reversed() {
      guard digit >= 1 else { return nil }
      index = index * 127 + Int(digit) - 1
    }
    return index
  }
}
