// Writes, compacts and reads back a database of 20,000 keys in the folder of its argument, and
// prints what it read: always the same, whatever the database was built by.
#include <cstdio>
#include <memory>
#include <string>

#include "rocksdb/db.h"
#include "rocksdb/options.h"

static int failed(const rocksdb::Status &status) {
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: rocksdb FOLDER\n");
    return 2;
  }
  rocksdb::Options options;
  options.create_if_missing = true;
  options.compression = rocksdb::kSnappyCompression;
  options.write_buffer_size = 1 << 18;
  rocksdb::DB *opened = nullptr;
  rocksdb::Status status = rocksdb::DB::Open(options, argv[1], &opened);
  if (!status.ok()) return failed(status);
  std::unique_ptr<rocksdb::DB> db(opened);
  for (unsigned i = 0; i < 20000 && status.ok(); i++) {
    unsigned key = i * 2654435761u % 1000003u;
    status = db->Put(rocksdb::WriteOptions(), "key" + std::to_string(key), std::string(i % 97, 'a' + i % 26));
  }
  if (status.ok()) status = db->CompactRange(rocksdb::CompactRangeOptions(), nullptr, nullptr);
  if (!status.ok()) return failed(status);
  unsigned count = 0, sum = 0;
  std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(rocksdb::ReadOptions()));
  for (it->SeekToFirst(); it->Valid(); it->Next(), count++)
    for (char c : it->key().ToString() + it->value().ToString()) sum = sum * 31 + static_cast<unsigned char>(c);
  if (!it->status().ok()) return failed(it->status());
  std::printf("ROCKSDB OK %u %08x\n", count, sum);
  return 0;
}
