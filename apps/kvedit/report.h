// The library's reports, as JSON and for people.
#pragma once

#include <iosfwd>
#include <string>

#include "common.h"

namespace kvedit::cli {

Json erase_json(const Session& session, const EraseReport& report);
Json verify_json(const Session& session, const VerifyReport& report);
Json upgrade_json(const Session& session, const UpgradeStatus& status);
Json evict_json(const EvictReport& report);
Json stats_json(const SessionStats& stats);

/// Prints the figures and what they mean.
void print_verified(std::ostream& out, const std::string& label, const VerifyReport& report);
void print_upgraded(std::ostream& out, const std::string& label, const UpgradeStatus& status);
void print_stats(std::ostream& out, const SessionStats& stats);

}  // namespace kvedit::cli
