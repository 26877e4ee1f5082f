// The arguments of a kernel go by name: Python passes a dict, and each op names once, in a function that
// takes a visitor, what its call is made of. One visitor reads a dict, another lists names and kinds for Python.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <iterator>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/dtype.h"

// A member of `args` under its own name, and one of every `Entry` of a list.
#define IBRL_FIELD(member)   \
    ibrl::Field {            \
        #member, args.member \
    }
#define IBRL_COLUMN(member)     \
    ibrl::Column {              \
        #member, &Entry::member \
    }

namespace ibrl {

template <typename T>
struct Field {
    const char* name;
    T& value;
};
template <typename T>
Field(const char*, T&) -> Field<T>;

// Python passes one list for each member, all of one length.
template <typename Entry, typename T>
struct Column {
    const char* name;
    T Entry::* member;
};

// What Python passes for a member of this type.
template <typename T>
constexpr const char* kind_of() {
    if constexpr (std::is_pointer_v<T>)
        return "address";
    else if constexpr (std::is_array_v<T>)
        return "strides";
    else if constexpr (std::is_same_v<T, DType>)
        return "dtype";
    else if constexpr (std::is_same_v<T, bool>)
        return "bool";
    else if constexpr (std::is_floating_point_v<T>)
        return "float";
    else
        return "int";
}

// Lists the fields: (name, kind) each, `list[kind]` for a column.
class FieldLister {
  public:
    template <typename... T>
    void operator()(Field<T>... fields) {
        (add(fields.name, kind_of<T>()), ...);
    }

    template <typename Entries, typename Entry, typename... T>
    void each(Entries&, int64_t&, Column<Entry, T>... columns) {
        (add(columns.name, std::string("list[") + kind_of<T>() + "]"), ...);
    }

    std::vector<pybind11::str> names;
    pybind11::list kinds;

  private:
    void add(const char* name, const std::string& kind) {
        // interned, as the names in Python's code are: a look-up compares two addresses
        names.push_back(pybind11::reinterpret_steal<pybind11::str>(PyUnicode_InternFromString(name)));
        kinds.append(pybind11::make_tuple(name, kind));
    }
};

// Reads the fields from a dict; a missing, unknown or wrong one is a TypeError that names it.
class FieldReader {
  public:
    FieldReader(const std::string& op, const std::vector<pybind11::str>& names, const pybind11::dict& given)
        : op_(op), names_(names), given_(given) {
        if (given.size() != names.size()) refuse_count();
    }

    template <typename... T>
    void operator()(Field<T>... fields) {
        (read(next(), fields.value), ...);
    }

    template <typename Entries, typename Entry, typename... T>
    void each(Entries& entries, int64_t& count, Column<Entry, T>... columns) {
        count = -1;
        (read_column(entries, count, columns.member), ...);
    }

  private:
    PyObject* next() {
        PyObject* value = PyDict_GetItemWithError(given_.ptr(), names_[at_++].ptr());
        if (value == nullptr) refuse("a value", "none");
        return value;
    }

    template <typename Entries, typename Entry, typename T>
    void read_column(Entries& entries, int64_t& count, T Entry::* member) {
        PyObject* list = next();
        if (!PyList_Check(list)) refuse("a list", Py_TYPE(list)->tp_name);
        const auto length = static_cast<int64_t>(PyList_GET_SIZE(list));
        if (count < 0) {
            count = length;
            if constexpr (std::is_array_v<Entries>) {
                if (length > std::ssize(entries)) refuse("a shorter list", std::to_string(length));
            } else {
                entries.resize(length);
            }
        }
        if (length != count) refuse(std::to_string(count) + " entries", std::to_string(length));
        for (int64_t i = 0; i < length; ++i) read(PyList_GET_ITEM(list, i), entries[i].*member);
    }

    template <typename T>
    void read(PyObject* value, T*& to) {
        to = static_cast<T*>(PyLong_AsVoidPtr(value));
        if (to == nullptr && PyErr_Occurred()) refuse("an address", Py_TYPE(value)->tp_name);
    }
    void read(PyObject* value, int64_t& to) {
        to = PyLong_AsLongLong(value);
        if (to == -1 && PyErr_Occurred()) refuse("an integer", Py_TYPE(value)->tp_name);
    }
    void read(PyObject* value, double& to) {
        to = PyFloat_AsDouble(value);
        if (to == -1.0 && PyErr_Occurred()) refuse("a number", Py_TYPE(value)->tp_name);
    }
    void read(PyObject* value, bool& to) {
        if (!PyBool_Check(value)) refuse("a bool", Py_TYPE(value)->tp_name);
        to = value == Py_True;
    }
    void read(PyObject* value, DType& to) {
        int64_t code;
        read(value, code);
        to = static_cast<DType>(code);
    }
    template <size_t N>
    void read(PyObject* value, int64_t (&to)[N]) {
        if (!PyTuple_Check(value) || PyTuple_GET_SIZE(value) != N)
            refuse("a tuple of " + std::to_string(N), Py_TYPE(value)->tp_name);
        for (size_t i = 0; i < N; ++i) read(PyTuple_GET_ITEM(value, i), to[i]);
    }

    // The field read last is not what it should be.
    [[noreturn]] void refuse(const std::string& expected, const std::string& got) const {
        PyErr_Clear();
        throw pybind11::type_error(op_ + ": field " + std::string(names_[at_ - 1]) + ": expected " +
                                   expected + ", got " + got);
    }
    [[noreturn]] void refuse_count() const {
        std::string expected;
        for (const auto& name : names_)
            expected.append(expected.empty() ? "" : ", ").append(std::string(name));
        throw pybind11::type_error(op_ + ": fields: expected " + expected + ", got " +
                                   std::string(pybind11::str(pybind11::list(given_))));
    }

    const std::string& op_;
    const std::vector<pybind11::str>& names_;
    const pybind11::dict& given_;
    size_t at_ = 0;
};

}  // namespace ibrl
